//! The state of the device while it measures, read between rounds.

use std::fs;
use std::path::{Path, PathBuf};

use edgefront_protocol::outcome::Conditions;

/// Reads the kernel's files below one root.
#[derive(Debug, Clone)]
pub(crate) struct Observer {
    sys: PathBuf,
}

impl Observer {
    /// `sys` is `/sys`, or a copy of one.
    pub(crate) fn new(sys: impl Into<PathBuf>) -> Self {
        Self { sys: sys.into() }
    }

    /// Notes the state of this moment: the governor as it is, the temperature if it is the highest so far.
    pub(crate) fn look(&self, conditions: &mut Conditions) {
        conditions.governor = self.governor();
        let highest = conditions.max_temp_c.into_iter().chain(self.temperature());
        conditions.max_temp_c = highest.reduce(f32::max);
    }

    fn governor(&self) -> Option<String> {
        text(&self.sys.join("devices/system/cpu/cpu0/cpufreq/scaling_governor"))
    }

    /// The hottest thermal zone, in degrees Celsius. Zones whose sensor is off say nothing or 0 or less.
    fn temperature(&self) -> Option<f32> {
        let zones = fs::read_dir(self.sys.join("class/thermal")).ok()?;
        zones
            .filter_map(Result::ok)
            .filter(|zone| zone.file_name().to_string_lossy().starts_with("thermal_zone"))
            .filter_map(|zone| text(&zone.path().join("temp"))?.parse::<f32>().ok())
            .filter(|millidegrees| *millidegrees > 0.0)
            .map(|millidegrees| millidegrees / 1000.0)
            .reduce(f32::max)
    }
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let path = root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_highest_temperature_over_zones_and_time_is_kept() {
        let sys = tempfile::tempdir().unwrap();
        write(
            sys.path(),
            "devices/system/cpu/cpu0/cpufreq/scaling_governor",
            "schedutil\n",
        );
        write(sys.path(), "class/thermal/thermal_zone0/temp", "51500\n");
        write(sys.path(), "class/thermal/thermal_zone1/temp", "-256000\n");
        write(sys.path(), "class/thermal/cooling_device0/temp", "99000\n");
        let (observer, mut conditions) = (Observer::new(sys.path()), Conditions::default());
        observer.look(&mut conditions);
        write(sys.path(), "class/thermal/thermal_zone0/temp", "48000\n");
        observer.look(&mut conditions);
        assert_eq!(conditions.governor.as_deref(), Some("schedutil"));
        assert_eq!(conditions.max_temp_c, Some(51.5));
    }

    #[test]
    fn a_device_that_tells_nothing_has_no_figures() {
        let sys = tempfile::tempdir().unwrap();
        let mut conditions = Conditions::default();
        Observer::new(sys.path()).look(&mut conditions);
        assert_eq!(conditions, Conditions::default());
    }
}
