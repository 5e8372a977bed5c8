/** Grouped bars as SVG, readable on light and on dark pages. */

export interface BarChart {
  readonly title: string;
  /** Of the values, as in `thousand requests/s`. */
  readonly unit: string;
  /** In the order of each group's values. */
  readonly series: readonly string[];
  readonly groups: readonly BarGroup[];
}

export interface BarGroup {
  readonly label: string;
  /** null leaves the bar out. */
  readonly values: readonly (number | null)[];
}

const WIDTH = 820;
const HEIGHT = 320;
const LEFT = 60;
const RIGHT = 16;
const TOP = 64;
const BOTTOM = 34;
const COLORS = ['#9aa5b1', '#c9a27c', '#2f6fde', '#1f9d73', '#8a63d2', '#6b7280', '#374151'];

export function barChart({ title, unit, series, groups }: BarChart): string {
  const most = Math.max(1e-9, ...groups.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const step = niceStep(most / 4);
  const top = Math.ceil(most / step) * step;
  const yOf = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="system-ui, sans-serif" font-size="12" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="#ffffff"/>`,
    text(LEFT, 22, `${title} (${unit})`, 'font-size="15" font-weight="600"'),
    ...legend(series),
  ];
  for (let value = 0; value <= top + step / 2; value += step) {
    const y = yOf(value).toFixed(1);
    parts.push(
      `<path d="M${LEFT} ${y}H${WIDTH - RIGHT}" stroke="#e5e7eb"/>`,
      text(LEFT - 6, Number(y) + 4, shorten(value), 'text-anchor="end"'),
    );
  }
  const groupWidth = (WIDTH - LEFT - RIGHT) / groups.length;
  const barWidth = (groupWidth * 0.84) / series.length;
  groups.forEach(({ label, values }, group) => {
    const left = LEFT + group * groupWidth;
    values.forEach((value, index) => {
      if (value === null) return;
      const x = left + groupWidth * 0.08 + index * barWidth;
      const y = yOf(value);
      const box = `x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${(barWidth * 0.92).toFixed(1)}" height="${(HEIGHT - BOTTOM - y).toFixed(1)}"`;
      parts.push(`<rect ${box} fill="${COLORS[index % COLORS.length] ?? ''}"/>`);
      const middle = x + barWidth * 0.46;
      if (barWidth > 18)
        parts.push(text(middle, y - 4, shorten(value), 'text-anchor="middle" font-size="10"'));
    });
    parts.push(text(left + groupWidth / 2, HEIGHT - 12, label, 'text-anchor="middle"'));
  });
  return `${parts.join('\n')}\n</svg>\n`;
}

function legend(series: readonly string[]): string[] {
  let x = LEFT;
  return series.flatMap((name, index) => {
    const at = Math.round(x);
    x += 26 + name.length * 6.4;
    return [
      `<rect x="${at}" y="34" width="11" height="11" fill="${COLORS[index % COLORS.length] ?? ''}"/>`,
      text(at + 16, 44, name, ''),
    ];
  });
}

function text(x: number, y: number, content: string, attributes: string): string {
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" fill="#1f2937" ${attributes}>${escape(content)}</text>`;
}

/** 1, 2 or 5 times a power of ten, at least `least`. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= least) ?? 10);
}

function shorten(value: number): string {
  if (value === 0) return '0';
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(2)));
}

function escape(content: string): string {
  return content.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
}
