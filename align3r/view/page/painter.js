// What is drawn, and nothing about why: points, lines of some width, and a picture in space.
const POINT_BYTES = 12, LINE_BYTES = 20;

const UNFOLD = `
vec3 unfold(vec3 stored) { vec3 q = (stored - 32768.0) / 32767.0; return q / (1.0 - abs(q)); }`;

const POINT_VERTEX = `#version 300 es
layout(location = 0) in vec3 place; layout(location = 1) in vec3 colour;
layout(location = 2) in vec3 level;
uniform mat4 camera; uniform float least, farthest, pixel, focal, rangeSteps; uniform vec4 tint;
out vec3 shade;
${UNFOLD}
void main() {
  shade = mix(colour, tint.rgb, tint.a);
  gl_Position = camera * vec4(unfold(place), 1.0);
  if (level.x < least || level.y > farthest) gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
  // As large as the pixels between it and its neighbours, where it was seen, so that neighbours close the gaps.
  float size = pixel * (0.7 + 0.8 * level.z) * exp2((level.y - 128.0) / rangeSteps);
  gl_PointSize = clamp(size * focal / max(gl_Position.w, 1e-6), 1.0, 48.0);
}`;

const POINT_FRAGMENT = `#version 300 es
precision mediump float; in vec3 shade; out vec4 pixelColour;
void main() {
  vec2 off = gl_PointCoord - 0.5;
  if (dot(off, off) > 0.25) discard;
  pixelColour = vec4(shade, 1.0);
}`;

const LINE_VERTEX = `#version 300 es
layout(location = 0) in vec3 start; layout(location = 1) in vec3 end;
layout(location = 2) in vec3 colour; layout(location = 3) in float moment;
uniform mat4 camera; uniform vec2 window; uniform mediump float width; uniform float folded, now, span;
out vec4 shade; out float across;
${UNFOLD}
void main() {
  vec4 a = camera * vec4(folded > 0.0 ? unfold(start) : start, 1.0);
  vec4 b = camera * vec4(folded > 0.0 ? unfold(end) : end, 1.0);
  float age = now - moment, nearest = 1e-3;
  bool hidden = span > 0.0 && (age < 0.0 || age >= span);
  if (hidden || (a.w < nearest && b.w < nearest)) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
  if (a.w < nearest) a = mix(a, b, (nearest - a.w) / (b.w - a.w));
  if (b.w < nearest) b = mix(b, a, (nearest - b.w) / (a.w - b.w));
  vec2 along = (b.xy / b.w - a.xy / a.w) * window;
  along = length(along) > 1e-6 ? normalize(along) : vec2(1.0, 0.0);
  vec4 here = gl_VertexID < 2 ? a : b;
  float side = gl_VertexID % 2 == 0 ? 1.0 : -1.0;
  across = side * (width + 1.0);
  here.xy += across * vec2(-along.y, along.x) / window * here.w;
  // Trails lie on the points that they follow, and points have a size: a little nearer to the eye.
  if (span > 0.0) here.z -= 0.03 * here.w * (1.0 - here.z / here.w);
  gl_Position = here;
  shade = vec4(colour, span > 0.0 ? 1.0 - 0.85 * age / span : 1.0);
}`;

const LINE_FRAGMENT = `#version 300 es
precision mediump float; in vec4 shade; in float across; uniform float width;
out vec4 pixelColour;
void main() { pixelColour = vec4(shade.rgb, shade.a * clamp(width + 1.0 - abs(across), 0.0, 1.0)); }`;

const PICTURE_VERTEX = `#version 300 es
uniform mat4 camera; uniform vec3 corners[4]; out vec2 where;
void main() {
  where = vec2(float(gl_VertexID % 2), float(gl_VertexID / 2));
  gl_Position = camera * vec4(corners[gl_VertexID], 1.0);
}`;

const PICTURE_FRAGMENT = `#version 300 es
precision mediump float; in vec2 where; uniform sampler2D image; uniform float opacity;
out vec4 pixelColour;
void main() { pixelColour = vec4(texture(image, where).rgb, opacity); }`;

class Painter {
  constructor(canvas) {
    // Round points gain nothing from it and lines have soft edges of their own.
    const gl = canvas.getContext("webgl2", { antialias: false, alpha: false });
    if (!gl) throw new Error("this browser has no WebGL 2");
    this.gl = gl;
    this.points = this.program(POINT_VERTEX, POINT_FRAGMENT);
    this.lines = this.program(LINE_VERTEX, LINE_FRAGMENT);
    this.pictures = this.program(PICTURE_VERTEX, PICTURE_FRAGMENT);
    this.none = gl.createVertexArray();
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.SRC_ALPHA, gl.ONE_MINUS_SRC_ALPHA);
  }

  program(vertex, fragment) {
    const gl = this.gl, made = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(made, shader);
    }
    gl.linkProgram(made);
    if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost())
      throw new Error("shaders: " + gl.getProgramInfoLog(made));
    const at = {};
    for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
      const name = gl.getActiveUniform(made, i).name;
      at[name.replace("[0]", "")] = gl.getUniformLocation(made, name);
    }
    return { made, at };
  }

  // A buffer on the card: attributes are [location, numbers, type, normalised, offset].
  upload(data, stride, attributes, divisor) {
    const gl = this.gl, array = gl.createVertexArray(), buffer = gl.createBuffer();
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    for (const [location, numbers, type, normalised, offset] of attributes) {
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, numbers, type, normalised, stride, offset);
      gl.vertexAttribDivisor(location, divisor);
    }
    gl.bindVertexArray(null);
    return { array, buffer, count: data.byteLength / stride, bytes: data.byteLength };
  }

  uploadPoints(data) {
    const { UNSIGNED_SHORT, UNSIGNED_BYTE } = this.gl;
    return this.upload(data, POINT_BYTES, [
      [0, 3, UNSIGNED_SHORT, false, 0], [1, 3, UNSIGNED_BYTE, true, 6],
      [2, 3, UNSIGNED_BYTE, false, 9],
    ], 0);
  }

  uploadTrails(data) {
    const { UNSIGNED_SHORT, UNSIGNED_BYTE } = this.gl, view = new DataView(data);
    const thing = this.upload(data, LINE_BYTES, [
      [0, 3, UNSIGNED_SHORT, false, 0], [1, 3, UNSIGNED_SHORT, false, 6],
      [3, 1, UNSIGNED_SHORT, false, 12], [2, 3, UNSIGNED_BYTE, true, 14],
    ], 1);
    // They come in the order of time.
    const last = data.byteLength - LINE_BYTES;
    return Object.assign(thing, { from: view.getUint16(12, true), to: view.getUint16(last + 12, true) });
  }

  // Lines as [start, end, colour] each; colours in [0, 1].
  uploadLines(list) {
    const { FLOAT } = this.gl, data = new Float32Array(list.flat(2));
    return this.upload(data, 36, [
      [0, 3, FLOAT, false, 0], [1, 3, FLOAT, false, 12], [2, 3, FLOAT, false, 24],
    ], 1);
  }

  uploadPicture(image) {
    const gl = this.gl, texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB, gl.RGB, gl.UNSIGNED_BYTE, image);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T])
      gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    return texture;
  }

  free(thing) {
    this.gl.deleteVertexArray(thing.array);
    this.gl.deleteBuffer(thing.buffer);
  }

  use(program, values) {
    const gl = this.gl;
    gl.useProgram(program.made);
    for (const [name, value] of Object.entries(values)) {
      const at = program.at[name];
      if (at === undefined) throw new Error("no uniform " + name);
      if (typeof value === "number") gl.uniform1f(at, value);
      else if (value.length === 2) gl.uniform2fv(at, value);
      else if (value.length === 4) gl.uniform4fv(at, value);
      else if (value.length === 12) gl.uniform3fv(at, value);
      else gl.uniformMatrix4fv(at, false, value);
    }
  }

  drawPoints(thing, values, share) {
    const gl = this.gl;
    this.use(this.points, values);
    gl.bindVertexArray(thing.array);
    gl.drawArrays(gl.POINTS, 0, Math.ceil(thing.count * share));
  }

  drawLines(thing, values) {
    const gl = this.gl;
    this.use(this.lines, values);
    gl.bindVertexArray(thing.array);
    gl.enable(gl.BLEND);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, thing.count);
    gl.disable(gl.BLEND);
  }

  drawPicture(texture, values) {
    const gl = this.gl;
    gl.bindTexture(gl.TEXTURE_2D, texture);
    this.use(this.pictures, values);
    gl.bindVertexArray(this.none);
    gl.enable(gl.BLEND);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    gl.disable(gl.BLEND);
  }
}
