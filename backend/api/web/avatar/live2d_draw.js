// Draws what the Cubism core has worked out: textured triangles, some seen only through others (masks), in their order.
//
// Colours are premultiplied throughout. A mask is drawn into a texture of its own, as large as the picture, and looked up by
// the place on the screen; drawables that share their masks share that texture while they follow one another.

const VERTEX = `
attribute vec2 place;
attribute vec2 uv;
uniform vec4 view; // scale x, y; shift x, y
varying vec2 at;
void main() {
  at = vec2(uv.x, 1.0 - uv.y); // textures begin at the top, the model's coordinates at the bottom
  gl_Position = vec4(place * view.xy + view.zw, 0.0, 1.0);
}`;

const FRAGMENT = `
precision mediump float;
varying vec2 at;
uniform sampler2D picture;
uniform sampler2D mask;
uniform vec4 size; // of the mask's texture: 1 / width, 1 / height; whether there is one; whether it is turned round
uniform float opacity;
uniform vec3 multiplied;
uniform vec3 screened;
void main() {
  vec4 colour = texture2D(picture, at);
  colour.rgb *= multiplied;
  colour.rgb = colour.rgb + screened * colour.a - colour.rgb * screened;
  float seen = 1.0;
  if (size.z > 0.5) {
    seen = texture2D(mask, gl_FragCoord.xy * size.xy).a;
    seen = size.w > 0.5 ? 1.0 - seen : seen;
  }
  gl_FragColor = colour * opacity * seen;
}`;

// Bits of a drawable's flags, as the core gives them.
const ADDED = 1 << 0;
const MULTIPLIED = 1 << 1;
const DOUBLE_SIDED = 1 << 2;
const INVERTED_MASK = 1 << 3;
const VISIBLE = 1 << 0;

const WHITE = [1, 1, 1];
const BLACK = [0, 0, 0];

export class Drawing {
  #gl;
  #images;
  #textures = [];
  #program = null;
  #names = {};
  #buffers = [];
  #mask = null;
  #maskOf = "";
  #view = [1, 1, 0, 0];

  /** For a canvas' WebGL context and the model's textures, as bitmaps with premultiplied alpha. */
  constructor(gl, images) {
    this.#gl = gl;
    this.#images = images;
    this.restore();
  }

  /** Make everything anew, as after the context was lost. */
  restore() {
    const gl = this.#gl;
    this.#program = program(gl);
    this.#names = {};
    for (const name of ["view", "picture", "mask", "size", "opacity", "multiplied", "screened"]) {
      this.#names[name] = gl.getUniformLocation(this.#program, name);
    }
    for (const name of ["place", "uv"]) this.#names[name] = gl.getAttribLocation(this.#program, name);
    this.#textures = this.#images.map((image) => texture(gl, image));
    this.#buffers = [];
    this.#mask = null;
  }

  /** Where the model's coordinates lie on the picture: [scale x, scale y, shift x, shift y]. */
  place(view) {
    this.#view = view;
  }

  draw(model) {
    const gl = this.#gl;
    const { drawables } = model;
    const orders = model.getRenderOrders?.() ?? drawables.renderOrders;
    const sorted = Array.from({ length: drawables.count }, (_, n) => n).sort((a, b) => orders[a] - orders[b]);
    this.#fitMask();
    this.#maskOf = "";
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.#program);
    gl.enable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
    gl.frontFace(gl.CCW);
    gl.uniform1i(this.#names.picture, 0);
    gl.uniform1i(this.#names.mask, 1);
    gl.uniform4fv(this.#names.view, this.#view);
    for (const n of sorted) {
      if (!(drawables.dynamicFlags[n] & VISIBLE) || drawables.opacities[n] <= 0) continue;
      const count = drawables.maskCounts[n];
      const masks = count ? [...drawables.masks[n].slice(0, count)].filter((id) => id >= 0) : [];
      if (masks.length) this.#drawMask(model, masks);
      this.#blend(drawables.constantFlags[n]);
      const inverted = masks.length > 0 && (drawables.constantFlags[n] & INVERTED_MASK) !== 0;
      this.#triangles(model, n, drawables.opacities[n], masks.length > 0, inverted);
    }
  }

  dispose() {
    const gl = this.#gl;
    for (const each of this.#textures) gl.deleteTexture(each);
    for (const each of this.#buffers) for (const buffer of Object.values(each ?? {})) gl.deleteBuffer(buffer);
    if (this.#mask) {
      gl.deleteFramebuffer(this.#mask.frame);
      gl.deleteTexture(this.#mask.texture);
    }
    gl.deleteProgram(this.#program);
    for (const image of this.#images) image.close();
    this.#images = [];
  }

  #blend(flags) {
    const gl = this.#gl;
    if (flags & ADDED) gl.blendFuncSeparate(gl.ONE, gl.ONE, gl.ZERO, gl.ONE);
    else if (flags & MULTIPLIED) gl.blendFuncSeparate(gl.DST_COLOR, gl.ONE_MINUS_SRC_ALPHA, gl.ZERO, gl.ONE);
    else gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  #drawMask(model, masks) {
    const name = masks.join();
    const gl = this.#gl;
    if (name !== this.#maskOf) {
      this.#maskOf = name;
      gl.bindFramebuffer(gl.FRAMEBUFFER, this.#mask.frame);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      // A mask counts whether it is itself visible or not: its shape is what matters.
      for (const each of masks) this.#triangles(model, each, 1, false, false);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    }
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.#mask.texture);
  }

  #triangles(model, n, opacity, masked, inverted) {
    const gl = this.#gl;
    const { drawables } = model;
    const count = drawables.indexCounts[n];
    const image = this.#textures[drawables.textureIndices[n]];
    if (!count || !image) return;
    const names = this.#names;
    const buffers = (this.#buffers[n] ??= this.#bufferOf(drawables, n));
    if (drawables.constantFlags[n] & DOUBLE_SIDED) gl.disable(gl.CULL_FACE);
    else gl.enable(gl.CULL_FACE);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, image);
    // A texture may not be read while it is drawn into.
    if (!masked) {
      gl.activeTexture(gl.TEXTURE1);
      gl.bindTexture(gl.TEXTURE_2D, image);
    }
    gl.uniform4f(names.size, 1 / this.#mask.width, 1 / this.#mask.height, masked ? 1 : 0, inverted ? 1 : 0);
    gl.uniform1f(names.opacity, opacity);
    gl.uniform3fv(names.multiplied, colour(drawables.multiplyColors, n, WHITE));
    gl.uniform3fv(names.screened, colour(drawables.screenColors, n, BLACK));
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.places);
    gl.bufferData(gl.ARRAY_BUFFER, drawables.vertexPositions[n], gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(names.place);
    gl.vertexAttribPointer(names.place, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.uvs);
    gl.enableVertexAttribArray(names.uv);
    gl.vertexAttribPointer(names.uv, 2, gl.FLOAT, false, 0, 0);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.indices);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_SHORT, 0);
  }

  #bufferOf(drawables, n) {
    const gl = this.#gl;
    const buffers = { places: gl.createBuffer(), uvs: gl.createBuffer(), indices: gl.createBuffer() };
    gl.bindBuffer(gl.ARRAY_BUFFER, buffers.uvs);
    gl.bufferData(gl.ARRAY_BUFFER, drawables.vertexUvs[n], gl.STATIC_DRAW);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffers.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, drawables.indices[n], gl.STATIC_DRAW);
    return buffers;
  }

  /** The mask's texture, as large as the picture. */
  #fitMask() {
    const gl = this.#gl;
    const [width, height] = [gl.drawingBufferWidth, gl.drawingBufferHeight];
    if (this.#mask?.width === width && this.#mask.height === height) return;
    const mask = this.#mask ?? { frame: gl.createFramebuffer(), texture: gl.createTexture() };
    gl.bindTexture(gl.TEXTURE_2D, mask.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, null);
    plain(gl, gl.LINEAR);
    gl.bindFramebuffer(gl.FRAMEBUFFER, mask.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, mask.texture, 0);
    this.#mask = { ...mask, width, height };
  }
}

/** Three of the four numbers that a drawable has in a list of colours; cores before 4.2 have none. */
function colour(list, n, other) {
  return list ? [list[n * 4], list[n * 4 + 1], list[n * 4 + 2]] : other;
}

function plain(gl, smaller) {
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, smaller);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.LINEAR);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}

function texture(gl, image) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
  const isPower = (n) => (n & (n - 1)) === 0;
  // Smaller copies keep thin lines from flickering; this WebGL makes them of sizes that are powers of two only.
  if (isPower(image.width) && isPower(image.height)) {
    gl.generateMipmap(gl.TEXTURE_2D);
    plain(gl, gl.LINEAR_MIPMAP_LINEAR);
  } else {
    plain(gl, gl.LINEAR);
  }
  return made;
}

function program(gl) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS) && !gl.isContextLost()) {
    throw new Error(`the graphics card does not take the shaders: ${gl.getProgramInfoLog(made)}`);
  }
  return made;
}
