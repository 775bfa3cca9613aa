// Vectors are arrays of three numbers, matrices arrays of sixteen by columns, as WebGL wants them.
const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const times = (a, s) => [a[0] * s, a[1] * s, a[2] * s];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const length = (a) => Math.hypot(a[0], a[1], a[2]);
const unit = (a) => times(a, 1 / (length(a) || 1));
const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];
const clamp = (x, low, high) => Math.min(Math.max(x, low), high);

// Rodrigues: v turned about the unit vector `axis`.
function turn(v, axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle);
  return add(add(times(v, c), times(cross(axis, v), s)), times(axis, dot(axis, v) * (1 - c)));
}

function multiply(a, b) {
  const out = new Array(16).fill(0);
  for (let c = 0; c < 4; c++)
    for (let r = 0; r < 4; r++)
      for (let k = 0; k < 4; k++) out[4 * c + r] += a[4 * k + r] * b[4 * c + k];
  return out;
}

// fx, fy: focal lengths over half the sides; cx, cy: where the axis meets the picture, in [-1, 1].
function projection(fx, fy, cx, cy, near, far) {
  const a = (far + near) / (near - far), b = (2 * far * near) / (near - far);
  return [fx, 0, 0, 0, 0, fy, 0, 0, -cx, -cy, a, -1, 0, 0, b, 0];
}

// World to an eye with these axes; it looks along -back.
function seenFrom(eye, right, up, back) {
  return [
    right[0], up[0], back[0], 0, right[1], up[1], back[1], 0, right[2], up[2], back[2], 0,
    -dot(right, eye), -dot(up, eye), -dot(back, eye), 1,
  ];
}

// The colours of time: blue at the start, over violet, to orange at the end; as in palette.py.
function timeColour(fraction) {
  const stops = [[38, 110, 235], [150, 70, 205], [250, 130, 20]];
  const where = clamp(fraction, 0, 1) * 2, k = Math.min(Math.floor(where), 1), f = where - k;
  return stops[k].map((value, i) => (value + (stops[k + 1][i] - value) * f) / 255);
}

// At most `most` of n numbers, evenly spread, both ends included.
function spread(n, most) {
  const count = Math.min(n, most), out = new Set();
  for (let i = 0; i < count; i++) out.add(count > 1 ? Math.round((i * (n - 1)) / (count - 1)) : 0);
  return [...out];
}
