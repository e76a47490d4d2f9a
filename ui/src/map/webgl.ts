// The WebGL2 renderer: one static buffer of positions, one byte per point that is replaced with each
// colouring, one 256 x 1 texture of colours. The depth test puts active points above inactive ones
// without sorting; coverage from alpha smooths the rims, which blending could not under a depth test.
import type { View } from "./camera";
import type { Renderer } from "./renderer";

const VERTEX = `#version 300 es
layout(location = 0) in vec2 place;
layout(location = 1) in uint value;
uniform vec4 view;
uniform float size;
uniform bool ordered;
flat out uint look;
void main() {
  look = value;
  bool nowhere = place.x > 65534.5;
  vec2 p = nowhere ? vec2(9.0) : place / 65534.0 * view.xy + view.zw;
  float depth = value == 0u ? 0.9 : ordered ? 0.8 - float(value) / 320.0 : 0.5;
  gl_Position = vec4(p, depth, 1.0);
  gl_PointSize = value == 0u ? max(1.0, size * 0.8) : size;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
flat in uint look;
uniform sampler2D colours;
uniform float size;
out vec4 colour;
void main() {
  vec4 c = texelFetch(colours, ivec2(int(look), 0), 0);
  float r = length(gl_PointCoord - 0.5) * 2.0;
  float edge = 2.0 / max(size, 2.0);
  float cover = size < 4.0 ? 1.0 : 1.0 - smoothstep(1.0 - edge, 1.0, r);
  if (cover < 0.05) discard;
  colour = vec4(c.rgb, cover);
}`;

function program(gl: WebGL2RenderingContext): WebGLProgram | null {
  const p = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]] as const) {
    const shader = gl.createShader(type);
    if (!p || !shader) return null;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(p, shader);
  }
  gl.linkProgram(p!);
  return gl.getProgramParameter(p!, gl.LINK_STATUS) ? p : null;
}

let works: boolean | null = null;

/** Tried on a canvas of its own: one that has given out a WebGL context has no 2-D context any more. */
function supported(): boolean {
  if (works === null) {
    const gl = document.createElement("canvas").getContext("webgl2");
    works = gl !== null && program(gl) !== null;
    gl?.getExtension("WEBGL_lose_context")?.loseContext();
  }
  return works;
}

export function glRenderer(canvas: HTMLCanvasElement): Renderer | null {
  if (!supported()) return null;
  const gl = canvas.getContext("webgl2", { antialias: true, alpha: false });
  if (!gl) return null;
  const made = program(gl);
  if (!made) return null;
  const at = (name: string) => gl.getUniformLocation(made, name);
  const where = { view: at("view"), size: at("size"), ordered: at("ordered"), colours: at("colours") };
  const places = gl.createBuffer(), looks = gl.createBuffer(), table = gl.createTexture();
  let n = 0, filled = 0, ordered = true;

  gl.useProgram(made);
  gl.uniform1i(where.colours, 0);
  gl.bindTexture(gl.TEXTURE_2D, table);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.enable(gl.DEPTH_TEST);
  gl.depthFunc(gl.LEQUAL);
  gl.enable(gl.SAMPLE_ALPHA_TO_COVERAGE);

  return {
    kind: "webgl2",
    positions(xy) {
      n = xy.length >> 1;
      gl.bindBuffer(gl.ARRAY_BUFFER, places);
      gl.bufferData(gl.ARRAY_BUFFER, xy, gl.STATIC_DRAW);
      gl.enableVertexAttribArray(0);
      gl.vertexAttribPointer(0, 2, gl.UNSIGNED_SHORT, false, 0, 0);
    },
    values(index, inOrder) {
      ordered = inOrder;
      filled = index.length;
      gl.bindBuffer(gl.ARRAY_BUFFER, looks);
      gl.bufferData(gl.ARRAY_BUFFER, index, gl.DYNAMIC_DRAW);
      gl.enableVertexAttribArray(1);
      gl.vertexAttribIPointer(1, 1, gl.UNSIGNED_BYTE, 0, 0);
    },
    palette(rgba, ground) {
      gl.clearColor(ground[0] / 255, ground[1] / 255, ground[2] / 255, 1);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    },
    draw(v: View, size) {
      const w = canvas.width, h = canvas.height;
      gl.viewport(0, 0, w, h);
      gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
      if (n === 0 || filled < n) return;
      gl.uniform4f(where.view, (2 * v.sx) / w, (-2 * v.sy) / h, (2 * v.ox) / w - 1, 1 - (2 * v.oy) / h);
      gl.uniform1f(where.size, size);
      gl.uniform1i(where.ordered, ordered ? 1 : 0);
      gl.drawArrays(gl.POINTS, 0, n);
    },
    free() {
      gl.deleteBuffer(places);
      gl.deleteBuffer(looks);
      gl.deleteTexture(table);
      gl.deleteProgram(made);
      gl.getExtension("WEBGL_lose_context")?.loseContext();
    },
  };
}
