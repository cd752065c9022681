// Stands in for the Cubism core, Live2DCubismCore, in tests: the same calls and values, for models of coloured rectangles that
// tests/live2d_model.py writes. Shapes follow parameters by sums, so a test can tell where every colour has to be.
//
// It becomes ready a while after it is loaded, as the real one does.

var Live2DCubismCore = (() => {
  const HEAD = 64;
  const CELLS = 4;
  const VISIBLE = 1;
  const readyAt = performance.now() + 80;

  const text = (buffer) => new TextDecoder().decode(new Uint8Array(buffer));

  class Moc {
    static released = 0;

    static fromArrayBuffer(buffer) {
      if (!new Moc().hasMocConsistency(buffer)) return null;
      const moc = new Moc();
      moc.content = JSON.parse(text(buffer.slice(HEAD)));
      return moc;
    }

    hasMocConsistency(buffer) {
      return text(buffer.slice(0, 4)) === "MOC3" ? 1 : 0;
    }

    _release() {
      Moc.released += 1;
    }
  }

  class Model {
    static released = 0;

    static fromMoc(moc) {
      return new Model(moc.content);
    }

    constructor({ parameters, shapes }) {
      const values = Object.values(parameters);
      this.canvasinfo = { CanvasWidth: 400, CanvasHeight: 600, CanvasOriginX: 200, CanvasOriginY: 300, PixelsPerUnit: 100 };
      this.parameters = {
        count: values.length,
        ids: Object.keys(parameters),
        minimumValues: Float32Array.from(values, (each) => each[0]),
        defaultValues: Float32Array.from(values, (each) => each[1]),
        maximumValues: Float32Array.from(values, (each) => each[2]),
        values: Float32Array.from(values, (each) => each[1]),
      };
      const parts = ["PartAll", ...new Set(shapes.map((each) => each.part).filter(Boolean))];
      this.parts = { count: parts.length, ids: parts, opacities: new Float32Array(parts.length).fill(1) };
      const count = shapes.length;
      this.shapes = shapes;
      this.drawables = {
        count,
        ids: shapes.map((each) => each.id),
        constantFlags: Uint8Array.from(shapes, (each) => each.flags),
        dynamicFlags: new Uint8Array(count),
        textureIndices: Int32Array.from(shapes, (each) => each.texture),
        renderOrders: Int32Array.from(shapes, (each) => each.order),
        opacities: new Float32Array(count),
        maskCounts: Int32Array.from(shapes, (each) => each.masks.length),
        masks: shapes.map((each) => Int32Array.from(each.masks)),
        vertexCounts: new Int32Array(count).fill(4),
        vertexPositions: shapes.map(() => new Float32Array(8)),
        vertexUvs: shapes.map((each) => uvs(each.cell)),
        indexCounts: new Int32Array(count).fill(6),
        indices: shapes.map((each) => Uint16Array.from(each.turned ? [0, 2, 1, 0, 3, 2] : [0, 1, 2, 0, 2, 3])),
        multiplyColors: Float32Array.from(shapes.flatMap((each) => [...(each.multiply ?? [1, 1, 1]), 1])),
        screenColors: new Float32Array(count * 4),
        resetDynamicFlags: () => {},
      };
      this.update();
    }

    update() {
      const value = (id) => this.parameters.values[this.parameters.ids.indexOf(id)];
      this.shapes.forEach((shape, n) => {
        const [left, bottom, right, top] = shape.at;
        let [dx, dy] = [0, 0];
        let [sx, sy] = shape.base;
        for (const [id, x, y, wide, high] of shape.moves) {
          dx += x * value(id);
          dy += y * value(id);
          sx += wide * value(id);
          sy += high * value(id);
        }
        const [cx, cy] = [(left + right) / 2 + dx, (bottom + top) / 2 + dy];
        const [hx, hy] = [((right - left) / 2) * sx, ((top - bottom) / 2) * sy];
        this.drawables.vertexPositions[n].set([cx - hx, cy - hy, cx + hx, cy - hy, cx + hx, cy + hy, cx - hx, cy + hy]);
        const part = this.parts.ids.indexOf(shape.part ?? "PartAll");
        this.drawables.opacities[n] = this.parts.opacities[part] * (shape.fades ? value(shape.fades) : 1);
        this.drawables.dynamicFlags[n] = shape.hidden ? 0 : VISIBLE;
      });
    }

    release() {
      Model.released += 1;
    }
  }

  /** The middle of a cell of the texture, whose v counts from the bottom. */
  function uvs(cell) {
    const u = ((cell % CELLS) + 0.5) / CELLS;
    const v = 1 - (Math.floor(cell / CELLS) + 0.5) / CELLS;
    const d = 0.2 / CELLS;
    return Float32Array.from([u - d, v - d, u + d, v - d, u + d, v + d, u - d, v + d]);
  }

  return {
    Version: {
      csmGetVersion() {
        if (performance.now() < readyAt) throw new TypeError("not ready yet");
        return 0x05000000;
      },
      csmGetLatestMocVersion: () => 5,
    },
    Moc,
    Model,
  };
})();
