// Small drawings within tables: a signed bar around 0 with its interval, and a share beside its
// background.
import { NEGATIVE, POSITIVE } from "../colour";
import { theme } from "../theme";

const H = 14;

/** A signed value on a scale from -most to +most; whiskers are the interval. */
export function SignedBar({ value, low, high, most, width = 110 }: {
  value: number | null; low?: number | null; high?: number | null; most: number; width?: number;
}) {
  if (value === null || !(most > 0)) return <span class="unit">–</span>;
  const mid = width / 2, clip = (v: number) => Math.max(1, Math.min(width - 1, mid + (v / most) * (mid - 2)));
  const x = clip(value), fill = (value >= 0 ? POSITIVE : NEGATIVE)[theme.value];
  return (
    <svg class="bar-cell" width={width} height={H} aria-hidden="true">
      <rect x={Math.min(mid, x)} y={3} width={Math.max(1, Math.abs(x - mid))} height={H - 6} fill={fill} />
      {low !== undefined && low !== null && high !== undefined && high !== null && (
        <path class="whisker" d={`M${clip(low)},${H / 2}H${clip(high)}M${clip(low)},4V${H - 4}M${clip(high)},4V${H - 4}`} />
      )}
      <line class="zero" x1={mid} x2={mid} y1={0} y2={H} />
    </svg>
  );
}

/** A share with its interval; the tick is the background. */
export function ShareBar({ share, background, low, high, width = 150 }: {
  share: number; background?: number | null; low?: number | null; high?: number | null; width?: number;
}) {
  const x = (v: number) => 1 + Math.max(0, Math.min(1, v)) * (width - 2);
  return (
    <svg class="bar-cell" width={width} height={H} aria-hidden="true">
      <rect class="track" x={1} y={3} width={width - 2} height={H - 6} />
      <rect class="share" x={1} y={3} width={Math.max(0.5, x(share) - 1)} height={H - 6} />
      {low !== undefined && low !== null && high !== undefined && high !== null && (
        <path class="whisker" d={`M${x(low)},${H / 2}H${x(high)}`} />
      )}
      {background !== undefined && background !== null && <line class="tick" x1={x(background)} x2={x(background)} y1={0} y2={H} />}
    </svg>
  );
}
