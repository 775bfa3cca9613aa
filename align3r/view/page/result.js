// One result: its parts as they arrive, on the graphics card. Where they come from is `source`.
const AHEAD = 6;
const MOST_BYTES = 200e6, MOST_PICTURES = 120;

// Parts from the page itself: base64, and deflated where that helps.
class Embedded {
  async get(path) {
    const element = document.getElementById(path);
    if (!element) throw new Error("the page lacks " + path);
    const bytes = Uint8Array.from(atob(element.textContent), (c) => c.charCodeAt(0));
    if (element.dataset.packed !== "deflate") return bytes.buffer;
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return new Response(stream).arrayBuffer();
  }
}

// Parts from `align3r view`.
class Served {
  async get(path) {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(await answer.text());
    return answer.arrayBuffer();
  }
}

class Result {
  constructor(number, about, source, painter, changed, failed) {
    Object.assign(this, { number, about, source, painter, changed, failed });
    this.static = [];
    this.trails = [];
    this.sizes = new Uint32Array(65536);
    this.moments = new Map();
    this.pictures = new Map();
    this.waiting = new Set();
    this.last = {};
    this.loading = "points";
    this.makeLines();
  }

  get steps() { return this.about.times.length; }

  part(kind, i) { return this.source.get(`part/${this.number}/${kind}/${i}`); }

  async loadAll() {
    await this.loadEach("static", (data) => {
      this.static.push(this.painter.uploadPoints(data));
      this.count(new Uint8Array(data), this.sizes);
    });
    await this.loadEach("trails", (data) => this.trails.push(this.painter.uploadTrails(data)));
    this.loading = "";
    this.changed();
  }

  async loadEach(kind, take) {
    this.loading = kind === "static" ? "points" : kind;
    for (let i = 0; i < this.about.counts[kind]; i++) {
      try {
        const data = await this.part(kind, i);
        if (data.byteLength) take(data);
      } catch (error) {
        this.failed(error.message);
      }
      this.changed();
    }
  }

  // Points by confidence (rows) and range (columns), so that no slider has to look at all of them.
  count(bytes, sizes) {
    for (let at = 0; at < bytes.length; at += POINT_BYTES) sizes[256 * bytes[at + 9] + bytes[at + 10]]++;
  }

  shown(sizes, least, farthest) {
    let sum = 0;
    for (let row = least; row < 256; row++)
      for (let column = 0; column <= farthest; column++) sum += sizes[256 * row + column];
    return sum;
  }

  // The moving points of a moment (or all its points), or null while they are on their way.
  moment(kind, i) {
    const key = `${kind}/${i}`, found = this.moments.get(key);
    if (found) {
      this.moments.delete(key);
      this.moments.set(key, found);
      return found;
    }
    this.fetch(key, async () => {
      const data = await this.part(kind, i), thing = this.painter.uploadPoints(data);
      thing.sizes = new Uint32Array(65536);
      this.count(new Uint8Array(data), thing.sizes);
      thing.bytes += thing.sizes.byteLength;
      this.moments.set(key, thing);
      this.forget();
    });
    return null;
  }

  // The same, or what was shown before it, so that nothing flickers.
  held(kind, i) {
    this.last[kind] = this.moment(kind, i) ?? this.last[kind];
    return this.last[kind];
  }

  // The pictures of a moment: an ImageBitmap and, for images, a texture; or null.
  picture(kind, i) {
    const key = `${kind}/${i}`, found = this.pictures.get(key);
    if (found) return found;
    this.fetch(key, async () => {
      const bitmap = await createImageBitmap(new Blob([await this.part(kind, i)]));
      const texture = kind === "image" ? this.painter.uploadPicture(bitmap) : null;
      this.pictures.set(key, { bitmap, texture });
      if (this.pictures.size > MOST_PICTURES) {
        const [old, thing] = this.pictures.entries().next().value;
        this.pictures.delete(old);
        thing.bitmap.close();
        if (thing.texture) this.painter.gl.deleteTexture(thing.texture);
      }
    });
    return null;
  }

  async fetch(key, job) {
    if (this.waiting.has(key)) return;
    this.waiting.add(key);
    try {
      await job();
      this.waiting.delete(key);
    } catch (error) {
      // It stays among those that are waited for, so that it is not asked for again and again.
      this.failed(error.message);
    }
    this.changed();
  }

  // What play will show next.
  prefetch(i, kinds) {
    for (let k = 1; k <= AHEAD; k++) {
      const next = (i + k) % this.steps;
      for (const kind of kinds)
        if (kind === "moving" || kind === "frame") this.moment(kind, next);
        else this.picture(kind, next);
    }
  }

  forget() {
    let bytes = 0;
    for (const thing of this.moments.values()) bytes += thing.bytes;
    for (const [key, thing] of this.moments) {
      if (bytes <= MOST_BYTES) break;
      if (Object.values(this.last).includes(thing)) continue;
      this.moments.delete(key);
      this.painter.free(thing);
      bytes -= thing.bytes;
    }
  }

  // Camera i: its centre, axes (right, down, forward) and the corners of its picture.
  camera(i, size) {
    const c = this.about.cameras[i], centre = c.slice(9, 12);
    const [right, down, forward] = [0, 1, 2].map((k) => [c[k], c[k + 3], c[k + 6]]);
    const [fx, fy, cx, cy] = c.slice(12);
    const corners = [[0, 0], [1, 0], [0, 1], [1, 1]].map(([u, v]) =>
      add(centre, times(add(add(forward, times(right, (u - cx) / fx)), times(down, (v - cy) / fy)), size)));
    return { centre, right, down, forward, fx, fy, cx, cy, corners };
  }

  frustum(i, size) {
    const { centre, corners } = this.camera(i, size);
    const colour = timeColour(i / Math.max(this.steps - 1, 1));
    const edges = [[0, 1], [1, 3], [3, 2], [2, 0]].map(([a, b]) => [corners[a], corners[b], colour]);
    return edges.concat(corners.map((corner) => [centre, corner, colour]));
  }

  makeLines() {
    const { frustum, path } = this.about, n = path.length / 3, lines = [];
    for (let i = 0; i + 1 < n; i++)
      lines.push([path.slice(3 * i, 3 * i + 3), path.slice(3 * i + 3, 3 * i + 6), timeColour((i + 0.5) / (n - 1))]);
    this.pathLines = lines.length ? this.painter.uploadLines(lines) : null;
    const some = spread(this.steps, 40).flatMap((i) => this.frustum(i, 0.6 * frustum));
    this.cameraLines = this.painter.uploadLines(some);
    this.here = null;
  }

  currentFrustum(i) {
    if (this.here?.moment !== i) {
      if (this.here) this.painter.free(this.here);
      this.here = this.painter.uploadLines(this.frustum(i, 2 * this.about.frustum));
      this.here.moment = i;
    }
    return this.here;
  }
}
