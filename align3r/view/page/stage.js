// One picture of everything: which result goes where, and what of it is shown.
// Which results are drawn into which part of the canvas, in its own pixels.
function windows(ratio) {
  const { width, height } = canvas, layout = two ? by("layout").value : "0";
  if (layout !== "side") {
    const shown = layout === "over" ? results : [results[Number(layout)]];
    return [{ shown, left: 0, width, height }];
  }
  const panel = document.body.classList.contains("bare") ? 0 : by("panel").offsetWidth + 12;
  const half = Math.floor((width - panel * ratio) / 2);
  labels(half / ratio);
  return results.map((r, i) => ({ shown: [r], left: i * half, width: half, height }));
}

function draw(share) {
  const ratio = Math.min(window.devicePixelRatio || 1, 2);
  const [width, height] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const back = document.body.classList.contains("dark") ? [0.082, 0.09, 0.11] : [0.949, 0.953, 0.961];
  gl.viewport(0, 0, width, height);
  gl.clearColor(...back, 1);
  gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
  gl.enable(gl.SCISSOR_TEST);
  const numbers = { fixed: 0, moving: 0 };
  for (const part of windows(ratio)) {
    gl.viewport(part.left, 0, part.width, part.height);
    gl.scissor(part.left, 0, part.width, part.height);
    for (const r of part.shown) drawResult(r, part, share, numbers, ratio);
  }
  gl.disable(gl.SCISSOR_TEST);
  state.drawn++;
  state.static = numbers.fixed;
  state.movingPoints = numbers.moving;
  showTexts(numbers);
  showPictures();
  // Not before there is something to see: what is asked for meanwhile would delay it.
  for (const r of results) if (r.static.length || !r.loading) r.prefetch(momentOf(r), kinds());
}

function drawResult(r, part, share, numbers, ratio) {
  const { about } = r, i = momentOf(r), checked = (id) => by(id).checked;
  const aspect = part.width / part.height, mixed = part.shown.length > 1;
  const { matrix, focal } = state.follow ? through(r.camera(i, 1), about.size, aspect) : eye.matrix(aspect);
  const least = Number(by("confidence").value), farthest = Number(by("range").value);
  const tint = mixed ? [...timeColour(r.number), 0.4] : [0, 0, 0, 0];
  // Fewer points must cover the same surface.
  const grow = Math.sqrt(1 / share) * Number(by("size").value);
  const points = {
    camera: matrix, farthest, tint, rangeSteps: about.range_steps,
    pixel: about.pixel * about.depth * grow, focal: focal * part.height,
  };
  const all = checked("only") && about.counts.frame ? r.held("frame", i) : null;
  if (all) {
    painter.drawPoints(all, { ...points, least }, share);
    numbers.fixed += r.shown(all.sizes, least, farthest);
  } else if (checked("static")) {
    for (const block of r.static) painter.drawPoints(block, { ...points, least }, share);
    numbers.fixed += r.shown(r.sizes, least, farthest);
  }
  const moving = r.held("moving", i);
  if (checked("moving") && moving) {
    // All of them, whatever their confidence: what moves is never sure.
    const pixel = about.pixel * about.depth * Number(by("size").value);
    painter.drawPoints(moving, { ...points, least: 0, pixel }, 1);
    numbers.moving += r.shown(moving.sizes, 0, farthest);
  }
  const size = [part.width, part.height];
  const lines = { camera: matrix, window: size, folded: 0, now: 0, span: 0, width: 1.2 * ratio };
  if (checked("trails")) {
    const span = Number(by("span").value) + 1;
    const look = { ...lines, folded: 1, now: i, span, width: 1.5 * ratio };
    for (const part of r.trails)
      if (part.from <= i && part.to > i - span) painter.drawLines(part, look);
  }
  // Whoever stands in the camera sees neither it nor its path.
  if (state.follow) return;
  if (checked("path") && r.pathLines) painter.drawLines(r.pathLines, { ...lines, width: 2 * ratio });
  if (!checked("cameras")) return;
  painter.drawLines(r.cameraLines, { ...lines, width: ratio });
  drawCamera(r, i, matrix, lines, ratio);
}

function drawCamera(r, i, matrix, lines, ratio) {
  painter.drawLines(r.currentFrustum(i), { ...lines, width: 2 * ratio });
  const image = by("images").checked ? r.picture("image", i) : null;
  if (!image) return;
  const corners = r.camera(i, 2 * r.about.frustum).corners.flat();
  painter.drawPicture(image.texture, { camera: matrix, corners, opacity: 0.92 });
}
