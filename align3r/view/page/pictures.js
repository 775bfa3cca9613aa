// The flat pictures of the current moment: image, depth, and what moves.
function showPictures() {
  const frames = by("frames");
  for (const r of results) {
    const i = momentOf(r), picture = r.picture(state.kind, i);
    const image = state.kind === "mask" ? r.picture("image", i) : null;
    if (!picture || (state.kind === "mask" && !image)) continue;
    const sheet = frames.children[r.number], key = `${state.kind}/${i}`;
    if (sheet.dataset.shows === key) continue;
    sheet.dataset.shows = key;
    const base = image?.bitmap ?? picture.bitmap, pen = sheet.getContext("2d");
    Object.assign(sheet, { width: base.width, height: base.height });
    pen.drawImage(base, 0, 0);
    if (image) tintMask(pen, picture.bitmap, base);
  }
}

// The picture of the moving mask: what moves in pink, the rest grey.
function tintMask(pen, mask, base) {
  const sheet = new OffscreenCanvas(base.width, base.height), other = sheet.getContext("2d");
  other.drawImage(mask, 0, 0, base.width, base.height);
  const inside = other.getImageData(0, 0, base.width, base.height).data;
  const pixels = pen.getImageData(0, 0, base.width, base.height), { data } = pixels;
  for (let k = 0; k < data.length; k += 4) {
    if (inside[k] > 127) {
      data[k] = 0.5 * data[k] + 127; data[k + 1] = 0.5 * data[k + 1] + 30; data[k + 2] = 0.5 * data[k + 2] + 75;
    } else {
      const grey = 0.5 * (0.3 * data[k] + 0.59 * data[k + 1] + 0.11 * data[k + 2]);
      data[k] = data[k + 1] = data[k + 2] = grey;
    }
  }
  pen.putImageData(pixels, 0, 0);
}
