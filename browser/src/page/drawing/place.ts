/** Where the picture lies in the viewer: one scale and one offset, in CSS pixels. */

/** A point of the picture (x, y) is shown at (x * scale + left, y * scale + top). */
export interface Place {
  scale: number;
  left: number;
  top: number;
}

export interface Size {
  width: number;
  height: number;
}

export interface Point {
  x: number;
  y: number;
}

const MAX_SCALE = 32;
/** A picture can't be made smaller than this share of its fitted size. */
const MIN_SHARE = 0.5;
/** So much of the picture always stays in sight, so that it can't be lost. */
const KEEP_PX = 48;

/** Return the place where the whole picture is seen, centred. */
export function fitted(picture: Size, viewer: Size): Place {
  const scale = Math.min(viewer.width / picture.width, viewer.height / picture.height);
  return centred(picture, viewer, scale);
}

/** Return the place at a scale, centred. */
export function centred(picture: Size, viewer: Size, scale: number): Place {
  return {
    scale,
    left: (viewer.width - picture.width * scale) / 2,
    top: (viewer.height - picture.height * scale) / 2,
  };
}

/** Zoom by a factor, so that what lies under `at` stays there. */
export function zoomAt(
  place: Place,
  factor: number,
  at: Point,
  picture: Size,
  viewer: Size,
): Place {
  const least = fitted(picture, viewer).scale * MIN_SHARE;
  const scale = Math.min(MAX_SCALE, Math.max(least, place.scale * factor));
  const grown = scale / place.scale;
  return held(
    { scale, left: at.x - (at.x - place.left) * grown, top: at.y - (at.y - place.top) * grown },
    picture,
    viewer,
  );
}

/** Move the picture, but never out of sight. */
export function moved(place: Place, by: Point, picture: Size, viewer: Size): Place {
  return held({ ...place, left: place.left + by.x, top: place.top + by.y }, picture, viewer);
}

/** Return the place where a box of the picture fills most of the viewer. */
export function around(box: Point & Size, picture: Size, viewer: Size): Place {
  const roomy = Math.min(viewer.width / box.width, viewer.height / box.height) * 0.6;
  const scale = Math.min(MAX_SCALE, Math.max(fitted(picture, viewer).scale, roomy));
  return {
    scale,
    left: viewer.width / 2 - (box.x + box.width / 2) * scale,
    top: viewer.height / 2 - (box.y + box.height / 2) * scale,
  };
}

function held(place: Place, picture: Size, viewer: Size): Place {
  const within = (offset: number, side: number, room: number) =>
    Math.min(room - KEEP_PX, Math.max(KEEP_PX - side * place.scale, offset));
  return {
    ...place,
    left: within(place.left, picture.width, viewer.width),
    top: within(place.top, picture.height, viewer.height),
  };
}
