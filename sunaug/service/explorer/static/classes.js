// GOES classes on a logarithmic slider. The leftmost place stands for "no flare listed".

const LETTERS = ["A", "B", "C", "M", "X"];
export const LOWEST = -8; // log10 W m-2, A1.0
export const HIGHEST = -3; // X10
export const STEP = 0.05;

/** Flux (W m-2) at a place of the slider. */
export const fluxAt = (place) => (place <= LOWEST ? 0 : 10 ** place);

/** Place of a flux on the slider. */
export const placeOf = (flux) => (flux > 0 ? Math.log10(flux) : LOWEST);

/** A flux as GOES class, cut after one decimal as `sunaug.flares.format_goes_class` does. */
export function goesClass(flux) {
  if (flux <= 0) return "quiet";
  const letter = Math.min(Math.max(Math.floor(Math.log10(flux * (1 + 1e-6))) + 8, 0), 4);
  return LETTERS[letter] + (Math.floor((flux / 10 ** (letter - 8)) * 10 * (1 + 1e-6)) / 10).toFixed(1);
}

export const TICKS = ["quiet", "B", "C", "M", "X", "X10"];
