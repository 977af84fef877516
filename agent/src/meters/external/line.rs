//! One reading as a meter writes it.

use serde::Deserialize;
use serde_json::Value;

use super::super::Quantity;

/// The unit of a meter's values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) enum Unit {
    #[default]
    W,
    #[serde(rename = "mW")]
    MilliW,
    J,
    #[serde(rename = "mJ")]
    MilliJ,
    Wh,
    #[serde(rename = "kWh")]
    KiloWh,
}

impl Unit {
    fn quantity(self) -> Quantity {
        match self {
            Self::W | Self::MilliW => Quantity::Power,
            Self::J | Self::MilliJ | Self::Wh | Self::KiloWh => Quantity::Energy,
        }
    }

    /// One of it in microwatts or microjoules.
    fn micros(self) -> f64 {
        match self {
            Self::W | Self::J => 1e6,
            Self::MilliW | Self::MilliJ => 1e3,
            Self::Wh => 3.6e9,
            Self::KiloWh => 3.6e12,
        }
    }
}

/// How to read a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    unit: Unit,
    fields: Option<Fields>,
}

/// Where the numbers are in a line of JSON, as JSON pointers (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fields {
    value: String,
    /// Seconds on the meter's clock.
    time: Option<String>,
}

/// What a line tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Microwatts or microjoules.
    pub(crate) value: u64,
    /// Nanoseconds on the meter's clock.
    pub(crate) time: Option<u64>,
}

impl Format {
    pub(crate) fn new(unit: Unit, value: Option<String>, time: Option<String>) -> Result<Self, String> {
        for (name, pointer) in [("value", &value), ("time", &time)] {
            if let Some(pointer) = pointer.as_ref().filter(|pointer| !pointer.starts_with('/')) {
                return Err(format!(
                    "has `{name}` = `{pointer}`, which does not begin with `/`; write where it is in the JSON, as in /ENERGY/Power"
                ));
            }
        }
        let fields = match (value, time) {
            (None, None) => None,
            (Some(value), time) => Some(Fields { value, time }),
            (None, Some(_)) => {
                return Err("has `time` and no `value`; write where both are in the JSON".to_owned());
            }
        };
        Ok(Self { unit, fields })
    }

    pub(crate) fn quantity(&self) -> Quantity {
        self.unit.quantity()
    }

    /// A number, or the time in seconds and a number; or JSON with both. Never panics, whatever the bytes.
    pub(crate) fn read(&self, line: &[u8]) -> Result<Reading, String> {
        let (value, time) = match &self.fields {
            Some(fields) => fields.read(line)?,
            None => words(line)?,
        };
        let value = scaled(value, self.unit.micros());
        let time = time.map(|seconds| scaled(seconds, 1e9).ok_or_else(|| format!("its time is {seconds}")));
        Ok(Reading {
            value: value.ok_or_else(|| format!("it says `{}`, which no meter measures", shown(line)))?,
            time: time.transpose()?,
        })
    }
}

impl Fields {
    fn read(&self, line: &[u8]) -> Result<(f64, Option<f64>), String> {
        let json: Value =
            serde_json::from_slice(line).map_err(|_| format!("`{}` is not JSON", shown(line)))?;
        let number = |pointer: &str| {
            let found = json.pointer(pointer);
            // Some plugs write numbers as text.
            let number =
                found.and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()));
            number.ok_or_else(|| format!("`{}` has no number at {pointer}", shown(line)))
        };
        let time = self.time.as_deref().map(number).transpose()?;
        Ok((number(&self.value)?, time))
    }
}

fn words(line: &[u8]) -> Result<(f64, Option<f64>), String> {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let numbers: Option<Vec<f64>> = text.split_whitespace().map(|word| word.parse().ok()).collect();
    match numbers.as_deref() {
        Some([value]) => Ok((*value, None)),
        Some([time, value]) => Ok((*value, Some(*time))),
        _ => Err(format!(
            "`{}` is neither a number nor a time and a number; where it is JSON, `value` says where the number is",
            shown(line)
        )),
    }
}

/// `None` for what is negative, no number, or too much for 64 bits.
fn scaled(number: f64, by: f64) -> Option<u64> {
    let scaled = (number * by).round();
    (0.0..1.8e19).contains(&scaled).then_some(scaled as u64)
}

/// The beginning of a line, on one line.
fn shown(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.chars().take(80).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn json(value: &str, time: Option<&str>) -> Format {
        Format::new(Unit::W, Some(value.to_owned()), time.map(str::to_owned)).unwrap()
    }

    fn plain(unit: Unit) -> Format {
        Format::new(unit, None, None).unwrap()
    }

    fn reading(value: u64, time: Option<u64>) -> Reading {
        Reading { value, time }
    }

    /// The forms in which Tasmota's `SENSOR`, Shelly's `status/switch:0` and `Zigbee2MQTT` write them, by their documents.
    #[test]
    fn plugs_are_understood() {
        let tasmota =
            br#"{"Time":"2026-11-28T12:00:00","ENERGY":{"Total":3.185,"Power":12.5,"Voltage":230}}"#;
        assert_eq!(
            json("/ENERGY/Power", None).read(tasmota),
            Ok(reading(12_500_000, None))
        );
        let shelly = br#"{"id":0,"apower":8.9,"aenergy":{"total":6.532,"minute_ts":1626935779}}"#;
        let both = json("/apower", Some("/aenergy/minute_ts"));
        assert_eq!(
            both.read(shelly),
            Ok(reading(8_900_000, Some(1_626_935_779_000_000_000)))
        );
        let as_text = json("/power", None).read(br#"{"power":" 4.25 "}"#);
        assert_eq!(as_text, Ok(reading(4_250_000, None)));
    }

    #[test]
    fn plain_numbers_are_in_their_unit() {
        assert_eq!(plain(Unit::W).read(b"5.12\n"), Ok(reading(5_120_000, None)));
        assert_eq!(plain(Unit::MilliW).read(b"5120"), Ok(reading(5_120_000, None)));
        assert_eq!(plain(Unit::Wh).read(b"2"), Ok(reading(7_200_000_000, None)));
        assert_eq!(plain(Unit::KiloWh).quantity(), Quantity::Energy);
        let timed = plain(Unit::W).read(b"1764000000.5 5");
        assert_eq!(timed, Ok(reading(5_000_000, Some(1_764_000_000_500_000_000))));
    }

    #[test]
    fn what_is_no_reading_is_said() {
        for (line, said) in [
            (&b"-3"[..], "it says `-3`, which no meter measures"),
            (b"NaN", "it says `NaN`, which no meter measures"),
            (b"1e40", "it says `1e40`, which no meter measures"),
            (b"-5 3", "its time is -5"),
            (b"5 W", "`5 W` is neither a number nor a time and a number"),
            (b"\xff\xff", "`\u{fffd}\u{fffd}` is neither a number"),
            (b"", "`` is neither a number"),
        ] {
            let error = plain(Unit::W).read(line).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
        let error = json("/power", None).read(b"{\"power\":null}").unwrap_err();
        assert_eq!(error, "`{\"power\":null}` has no number at /power");
        assert_eq!(
            json("/power", None).read(b"3.5").unwrap_err(),
            "`3.5` has no number at /power"
        );
        assert_eq!(
            json("/power", None).read(b"off").unwrap_err(),
            "`off` is not JSON"
        );
    }

    proptest! {
        #[test]
        fn no_line_panics(line in prop::collection::vec(any::<u8>(), 0..64), number: f64) {
            let lines = [line, format!("{number} {number}").into_bytes(), format!("{{\"a\":{number}}}").into_bytes()];
            for line in lines {
                let _ = plain(Unit::KiloWh).read(&line);
                let _ = json("/a", Some("/a")).read(&line);
            }
        }
    }
}
