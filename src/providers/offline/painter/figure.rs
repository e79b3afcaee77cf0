//! Figures: animals, boats, houses, made of a few soft-edged shapes in front of each other.

use super::canvas::{Layer, Rgb, Row, coverage, length, smoothstep};

/// The outline of a part. Lines taper from point to point: each is x, y and the radius there.
#[derive(Clone, Debug)]
enum Shape {
    Ellipse { x: f32, y: f32, width: f32, height: f32 },
    Line(Vec<[f32; 3]>),
    Polygon { corners: Vec<[f32; 2]>, round: f32 },
}

impl Shape {
    /// The distance of a point to the outline, negative inside; for ellipses nearly.
    fn distance(&self, x: f32, y: f32) -> f32 {
        match self {
            Self::Ellipse { x: middle_x, y: middle_y, width, height } => {
                let (dx, dy) = (x - middle_x, y - middle_y);
                let scaled = length(dx / width, dy / height);
                let gradient = length(dx / (width * width), dy / (height * height));
                if gradient > 0.0 { scaled * (scaled - 1.0) / gradient } else { -width.min(*height) }
            }
            Self::Line(points) => points.windows(2).map(|ends| distance_to_taper(x, y, ends)).fold(f32::MAX, f32::min),
            Self::Polygon { corners, round } => distance_to_polygon(x, y, corners) - round,
        }
    }

    /// Left, top, right, bottom.
    fn bounds(&self) -> [f32; 4] {
        let around = |points: &mut dyn Iterator<Item = [f32; 3]>| {
            points.fold([f32::MAX, f32::MAX, f32::MIN, f32::MIN], |[left, top, right, bottom], [x, y, r]| {
                [left.min(x - r), top.min(y - r), right.max(x + r), bottom.max(y + r)]
            })
        };
        match self {
            Self::Ellipse { x, y, width, height } => [x - width, y - height, x + width, y + height],
            Self::Line(points) => around(&mut points.iter().copied()),
            Self::Polygon { corners, round } => around(&mut corners.iter().map(|[x, y]| [*x, *y, *round])),
        }
    }
}

/// Cuts the corners of a line (Chaikin); its ends stay where they are.
fn smoothed(points: &[[f32; 3]]) -> Vec<[f32; 3]> {
    let between = |from: &[f32; 3], to: &[f32; 3], t: f32| {
        let [x, y, r] = [0, 1, 2].map(|axis| from[axis] + (to[axis] - from[axis]) * t);
        [x, y, r]
    };
    if points.len() < 3 {
        return points.to_vec();
    }
    let cut = points.windows(2).flat_map(|ends| match ends {
        [from, to] => [between(from, to, 0.25), between(from, to, 0.75)],
        _ => [[0.0; 3]; 2],
    });
    points.first().copied().into_iter().chain(cut).chain(points.last().copied()).collect()
}

fn distance_to_taper(x: f32, y: f32, ends: &[[f32; 3]]) -> f32 {
    let [[ax, ay, ar], [bx, by, br]] = ends else {
        return f32::MAX;
    };
    let (px, py, dx, dy) = (x - ax, y - ay, bx - ax, by - ay);
    let squared = (dx * dx + dy * dy).max(1e-12);
    let along = ((px * dx + py * dy) / squared).clamp(0.0, 1.0);
    length(px - dx * along, py - dy * along) - (ar + (br - ar) * along)
}

fn distance_to_polygon(x: f32, y: f32, corners: &[[f32; 2]]) -> f32 {
    let mut nearest = f32::MAX;
    let mut inside = false;
    let previous = corners.iter().cycle().skip(corners.len().saturating_sub(1));
    for ([ax, ay], [bx, by]) in corners.iter().zip(previous) {
        nearest = nearest.min(distance_to_taper(x, y, &[[*ax, *ay, 0.0], [*bx, *by, 0.0]]));
        if (*ay > y) != (*by > y) && x < (bx - ax) * (y - ay) / (by - ay) + ax {
            inside = !inside;
        }
    }
    if inside { -nearest } else { nearest }
}

#[derive(Clone, Debug)]
struct Part {
    shape: Shape,
    bounds: [f32; 4],
    top: Rgb,
    bottom: Rgb,
    opacity: f32,
    /// How wide the edge fades; 0 is sharp.
    soft: f32,
}

/// Parts, the first at the back.
#[derive(Clone, Debug, Default)]
pub struct Figure(Vec<Part>);

impl Layer for Figure {
    fn paint(&self, row: &mut Row) {
        let (y, pixel) = (row.y, row.pixel);
        for part in &self.0 {
            let [left, top, right, bottom] = part.bounds;
            let margin = part.soft + pixel;
            if y < top - margin || y > bottom + margin {
                continue;
            }
            let tone = part.top.mix(part.bottom, smoothstep(top, bottom.max(top + 1e-6), y));
            for (x, color) in row.span(left - part.soft, right + part.soft) {
                let distance = part.shape.distance(x, y);
                let inside = if part.soft > 0.0 { smoothstep(part.soft, -part.soft, distance) } else { coverage(distance, pixel) };
                *color = color.mix(tone, inside * part.opacity);
            }
        }
    }
}

/// Draws a figure in its own measures: `(0, 0)` where it stands, 1 its height, up is negative.
pub struct Pen {
    figure: Figure,
    x: f32,
    y: f32,
    size: f32,
    /// -1 mirrors left and right.
    facing: f32,
    light: Rgb,
}

impl Pen {
    /// A pen for a figure of `size` whose feet are at `x`, `y`.
    pub fn new(x: f32, y: f32, size: f32, facing: f32, light: Rgb) -> Self {
        Self { figure: Figure::default(), x, y, size, facing, light }
    }

    pub fn finish(self) -> Figure {
        self.figure
    }

    /// An ellipse around a point; `width` and `height` reach from its middle.
    pub fn ellipse(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], color: Rgb) {
        let shape = self.oval(x, y, width, height);
        self.shaded(shape, color);
    }

    /// A pair of ellipses, left and right of the middle.
    pub fn twins(&mut self, [x, y]: [f32; 2], size: [f32; 2], color: Rgb) {
        self.ellipse([-x, y], size, color);
        self.ellipse([x, y], size, color);
    }

    /// A smooth line through points, each x, y and the radius there.
    pub fn line(&mut self, points: &[[f32; 3]], color: Rgb) {
        let points = smoothed(&smoothed(points))
            .iter()
            .map(|[x, y, r]| [self.x + x * self.size * self.facing, self.y + y * self.size, r * self.size])
            .collect();
        self.shaded(Shape::Line(points), color);
    }

    pub fn twin_lines(&mut self, points: &[[f32; 3]], color: Rgb) {
        let mirrored: Vec<[f32; 3]> = points.iter().map(|[x, y, r]| [-x, *y, *r]).collect();
        self.line(&mirrored, color);
        self.line(points, color);
    }

    /// A polygon whose corners are rounded by `round`.
    pub fn polygon(&mut self, corners: &[[f32; 2]], round: f32, color: Rgb) {
        let corners = corners.iter().map(|[x, y]| [self.x + x * self.size * self.facing, self.y + y * self.size]).collect();
        self.shaded(Shape::Polygon { corners, round: round * self.size }, color);
    }

    pub fn twin_polygons(&mut self, corners: &[[f32; 2]], round: f32, color: Rgb) {
        let mirrored: Vec<[f32; 2]> = corners.iter().map(|[x, y]| [-x, *y]).collect();
        self.polygon(&mirrored, round, color);
        self.polygon(corners, round, color);
    }

    /// A shadow or a shine: soft all over, in a color that no light changes.
    pub fn haze(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], color: Rgb, opacity: f32) {
        let shape = self.oval(x, y, width, height);
        let soft = width.min(height) * self.size * 0.9;
        self.push(shape, color, color, opacity, soft);
    }

    /// A part that gives light of its own, such as a lit window.
    pub fn lamp(&mut self, corners: &[[f32; 2]], color: Rgb) {
        let corners = corners.iter().map(|[x, y]| [self.x + x * self.size * self.facing, self.y + y * self.size]).collect();
        self.push(Shape::Polygon { corners, round: 0.0 }, color, color, 1.0, 0.0);
    }

    fn oval(&self, x: f32, y: f32, width: f32, height: f32) -> Shape {
        let Self { size, facing, .. } = self;
        Shape::Ellipse { x: self.x + x * size * facing, y: self.y + y * size, width: width * size, height: height * size }
    }

    fn shaded(&mut self, shape: Shape, color: Rgb) {
        let top = color.mix(Rgb::WHITE, 0.1).under(self.light);
        let bottom = color.mix(Rgb::hex(0x1c1830), 0.2).under(self.light);
        self.push(shape, top, bottom, 1.0, 0.0);
    }

    fn push(&mut self, shape: Shape, top: Rgb, bottom: Rgb, opacity: f32, soft: f32) {
        let bounds = shape.bounds();
        self.figure.0.push(Part { shape, bounds, top, bottom, opacity, soft });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_negative_inside_a_shape_alone() {
        let square = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        let shapes = [
            Shape::Ellipse { x: 0.5, y: 0.5, width: 0.5, height: 0.3 },
            Shape::Line(vec![[0.2, 0.5, 0.1], [0.8, 0.5, 0.2]]),
            Shape::Polygon { corners: square.to_vec(), round: 0.0 },
        ];
        for shape in shapes {
            assert!(shape.distance(0.5, 0.5) < 0.0, "{shape:?}");
            assert!((shape.distance(0.5, 2.0) - 1.0).abs() < 0.5, "{shape:?}");
        }
    }

    #[test]
    fn shapes_without_extent_are_no_trouble() {
        assert!(Shape::Line(vec![[0.0, 0.0, 0.1]; 3]).distance(0.0, 0.0) < 0.0);
        assert!(distance_to_polygon(0.0, 0.0, &[]) > 0.0);
        assert_eq!(smoothed(&[]).len(), 0);
    }
}
