//! Tails of the two distributions the tests here need: how likely a statistic at least so extreme is by chance.

/// The chance that a standard normal variable is at least `z` away from zero, on either side.
///
/// 1 for zero and for NaN. Relative error about 10⁻¹², down to what an `f64` can hold.
pub fn normal_two_sided(z: f64) -> f64 {
    let x = z.abs() / std::f64::consts::SQRT_2;
    if x.is_nan() {
        return 1.0;
    }
    if x < 2.5 {
        // erf(x) = 2/√π · e^(−x²) · Σ 2ⁿ x^(2n+1) / (2n+1)!! has only positive terms.
        let (mut term, mut sum, mut odd) = (x, x, 1.0);
        while term > sum * 1e-17 {
            odd += 2.0;
            term *= 2.0 * x * x / odd;
            sum += term;
        }
        return (1.0 - sum * (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI).clamp(0.0, 1.0);
    }
    // Laplace's continued fraction of erfc, from far enough in: x + (1/2)/(x + 1/(x + (3/2)/(x + …))).
    let fraction = (1..=120).rev().fold(x, |inner, k| x + f64::from(k) / 2.0 / inner);
    (-x * x).exp() * std::f64::consts::FRAC_2_SQRT_PI / 2.0 / fraction
}

/// The chance that a variable of Student's t distribution is at least `t` away from zero, on either side.
///
/// 1 for zero, for NaN, and where there is no degree of freedom. Relative error about 10⁻¹⁰.
pub fn student_t_two_sided(t: f64, degrees_of_freedom: f64) -> f64 {
    if t.is_nan() || degrees_of_freedom.is_nan() || degrees_of_freedom <= 0.0 {
        return 1.0;
    }
    if t.is_infinite() {
        return 0.0;
    }
    let square = t * t;
    let whole = degrees_of_freedom + square;
    incomplete_beta(degrees_of_freedom / 2.0, 0.5, degrees_of_freedom / whole, square / whole)
}

/// The regularised incomplete beta function Iₓ(a, b), with `y` = 1 − `x` given to keep its digits: the continued
/// fraction 8.17.22 of the NIST Digital Library of Mathematical Functions, by Lentz's method.
fn incomplete_beta(a: f64, b: f64, x: f64, y: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if y <= 0.0 {
        return 1.0;
    }
    // The fraction converges fast on this side only.
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - incomplete_beta_by_fraction(b, a, y, x);
    }
    incomplete_beta_by_fraction(a, b, x, y)
}

fn incomplete_beta_by_fraction(a: f64, b: f64, x: f64, y: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * y.ln()).exp() / a;
    let (mut numerator, mut denominator) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = denominator;
    for m in 1..500 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for coefficient in [even, odd] {
            denominator = 1.0 / nonzero(1.0 + coefficient * denominator);
            numerator = nonzero(1.0 + coefficient / numerator);
            change = denominator * numerator;
            fraction *= change;
        }
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

/// ln Γ(x) for x > 0, by Stirling's series from 10 on.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut product) = (x, 1.0);
    while x < 10.0 {
        product *= x;
        x += 1.0;
    }
    let r = 1.0 / (x * x);
    let series = (1.0 / 12.0 - r * (1.0 / 360.0 - r * (1.0 / 1260.0 - r * (1.0 / 1680.0 - r / 1188.0)))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - product.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_near(actual: f64, expected: f64) {
        assert!((actual - expected).abs() <= expected * 1e-9, "{actual}, expected {expected}");
    }

    #[test]
    fn normal_tails_are_those_of_the_tables() {
        assert_eq!(normal_two_sided(0.0), 1.0);
        assert_near(normal_two_sided(1.0), 0.317_310_507_862_914_1);
        assert_near(normal_two_sided(-1.959_963_984_540_054), 0.05);
        assert_near(normal_two_sided(3.290_526_731_491_896), 0.001);
        assert_near(normal_two_sided(6.0), 1.973_175_290_075_396e-9);
        assert_eq!(normal_two_sided(f64::INFINITY), 0.0);
        assert_eq!(normal_two_sided(f64::NAN), 1.0);
    }

    /// One degree of freedom: 1 − 2/π · arctan t. Two: 1 − t/√(2 + t²). Others: printed tables.
    #[test]
    fn t_tails_are_those_of_closed_forms_and_tables() {
        for t in [0.001f64, 0.5, 1.0, 7.0, 1e4] {
            assert_near(student_t_two_sided(t, 1.0), 2.0 / std::f64::consts::PI * (1.0 / t).atan());
            let tail = 2.0 / (2.0 + t * t) / (1.0 + t / (2.0 + t * t).sqrt());
            assert_near(student_t_two_sided(-t, 2.0), tail);
        }
        assert_near(student_t_two_sided(2.228_138_851_964_939, 10.0), 0.05);
        assert!((student_t_two_sided(3.551_8, 58.0) - 0.000_769).abs() < 1e-5);
        assert!((student_t_two_sided(3.290_5, 1e7) - 0.001).abs() < 1e-6, "many degrees: normal");
        assert_eq!(student_t_two_sided(0.0, 5.0), 1.0);
        assert_eq!(student_t_two_sided(3.0, 0.0), 1.0);
        assert_eq!(student_t_two_sided(f64::INFINITY, 5.0), 0.0);
    }
}
