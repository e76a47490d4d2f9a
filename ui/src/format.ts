// Numbers as a reader of a paper expects them: three significant digits, true minus, thin spaces
// between thousands, powers of ten written as powers.
const MINUS = "\u2212";
const THIN = "\u202f"; // narrow, and a line does not break at it
const NONE = "\u2013";

function minus(text: string): string {
  return text.replace("-", MINUS);
}

export function count(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return minus(String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, THIN));
}

export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return power(value, 2);
  if (size >= 1000) return count(value);
  const decimals = Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return minus(value.toFixed(Math.min(decimals, 6)));
}

/** Fixed decimals: for columns whose numbers should stand under each other. */
export function fixed(value: number | null | undefined, decimals: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const text = value.toFixed(decimals);
  return minus(Number(text) === 0 ? (0).toFixed(decimals) : text);
}

export function signed(value: number | null | undefined, decimals = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const text = fixed(value, decimals);
  return value > 0 && Number(value.toFixed(decimals)) !== 0 ? `+${text}` : text;
}

export function percent(value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const p = value * 100;
  return `${p !== 0 && p < 0.1 ? minus("<0.1") : p < 10 ? p.toFixed(1) : p.toFixed(0)}${THIN}%`;
}

const SUPER = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079";

function scientific(mantissa: number, exponent: number, digits = 2): string {
  const raised = String(exponent).replace("-", "\u207b").replace(/\d/g, (d) => SUPER[Number(d)]!);
  return `${minus(mantissa.toFixed(digits - 1))}\u00d710${raised}`;
}

function power(value: number, digits: number): string {
  const [m = "0", e = "0"] = value.toExponential(digits - 1).split("e");
  return scientific(Number(m), Number(e), digits);
}

const SMALLEST = 1e-300; // below it a double is a floor, not a number

/** p and q: never shown as 0. */
export function probability(value: number | null | undefined, log10?: number | null): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  if (value < SMALLEST) {
    if (log10 === null || log10 === undefined || !Number.isFinite(log10)) return "<10\u207b\u00b3\u2070\u2070";
    const exponent = Math.floor(log10);
    return scientific(10 ** (log10 - exponent), exponent);
  }
  if (value < 0.001) return power(value, 2);
  return value.toFixed(3);
}

export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}
