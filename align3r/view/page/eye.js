// Where the visitor stands: turned, moved and zoomed by mouse, wheel and fingers.
class Eye {
  constructor(canvas, start, begins, moved) {
    Object.assign(this, { start, begins, moved });
    this.fingers = new Map();
    this.reset();
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.fingers.set(event.pointerId, [event.clientX, event.clientY]);
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => this.fingers.delete(event.pointerId));
    canvas.addEventListener("pointermove", (event) => this.drag(event, canvas));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.begins();
      this.zoom(Math.exp(clamp(event.deltaY, -200, 200) * 0.0015));
    }, { passive: false });
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  reset() {
    Object.assign(this, { eye: this.start.eye, target: this.start.target, up: this.start.up });
    this.moved();
  }

  drag(event, canvas) {
    const before = this.fingers.get(event.pointerId);
    if (!before) return;
    this.begins();
    const now = [event.clientX, event.clientY];
    const dx = (now[0] - before[0]) / canvas.clientHeight, dy = (now[1] - before[1]) / canvas.clientHeight;
    if (this.fingers.size === 2) {
      const other = [...this.fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (p) => Math.hypot(p[0] - other[0], p[1] - other[1]);
      this.zoom(apart(before) / Math.max(apart(now), 1));
      this.pan(dx / 2, dy / 2);
    } else if (event.buttons & 6 || event.shiftKey) this.pan(dx, dy);
    else this.orbit(-4 * dx, -4 * dy);
    this.fingers.set(event.pointerId, now);
  }

  axes() {
    const back = unit(sub(this.eye, this.target)), right = unit(cross(this.up, back));
    return { back, right, above: cross(back, right) };
  }

  orbit(yaw, pitch) {
    const away = sub(this.eye, this.target), height = Math.asin(clamp(dot(unit(away), this.up), -1, 1));
    // Never over the pole, where right and left change places.
    pitch = clamp(height - pitch, -1.5, 1.5) - height;
    const turned = turn(away, this.axes().right, -pitch);
    this.eye = add(this.target, turn(turned, this.up, yaw));
    this.moved();
  }

  pan(dx, dy) {
    const { right, above } = this.axes(), far = length(sub(this.eye, this.target));
    const by = add(times(right, -dx * far), times(above, dy * far));
    this.eye = add(this.eye, by);
    this.target = add(this.target, by);
    this.moved();
  }

  zoom(factor) {
    const away = sub(this.eye, this.target);
    const far = clamp(length(away) * factor, 0.02, 500);
    this.eye = add(this.target, times(unit(away), far));
    this.moved();
  }

  // The matrix for a window of this shape, and its focal length over the height in pixels.
  matrix(aspect) {
    const { right, above, back } = this.axes(), focal = 1 / Math.tan((25 * Math.PI) / 180);
    const wide = Math.min(1, aspect);
    const lens = projection((focal * wide) / aspect, focal * wide, 0, 0, 0.005, 1000);
    return { matrix: multiply(lens, seenFrom(this.eye, right, above, back)), focal: (focal * wide) / 2 };
  }
}

// Through a camera of the video: its whole picture is in the window.
function through(camera, size, aspect) {
  const { right, down, forward, fx, fy, cx, cy, centre } = camera;
  const shape = size[0] / size[1];
  const x = Math.min(1, shape / aspect), y = Math.min(1, aspect / shape);
  const lens = projection(2 * fx * x, 2 * fy * y, (2 * cx - 1) * x, (1 - 2 * cy) * y, 0.005, 1000);
  const seen = seenFrom(centre, right, times(down, -1), times(forward, -1));
  return { matrix: multiply(lens, seen), focal: fy * y };
}
