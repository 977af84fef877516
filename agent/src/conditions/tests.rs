//! Devices as trees of files, built from published listings, the source beside each; none is a recording of ours, and where a
//! listing lacks a number the tree has one that the board can show.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use super::*;

/// A tree of files with these texts.
fn system(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        write(root.path(), path, text);
    }
    root
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn program(root: &Path, path: &str, script: &str) {
    write(root, path, script);
    fs::set_permissions(root.join(path), fs::Permissions::from_mode(0o755)).unwrap();
}

fn faults(moment: &Moment) -> Vec<String> {
    moment.faults.iter().map(ToString::to_string).collect()
}

/// The causes that tell of now, and how many counts there are.
fn signs(moment: &Moment) -> (Vec<Throttle>, usize) {
    let now = moment.signs.iter().filter(|sign| sign.value == Value::Now(true));
    let counts = moment
        .signs
        .iter()
        .filter(|sign| matches!(sign.value, Value::Count(_)));
    (now.map(|sign| sign.cause).collect(), counts.count())
}

/// What the device told of throttling from one look to the next.
fn told(before: &Moment, after: &Moment) -> Option<Vec<Throttle>> {
    between::state(before, before, after, 0.1).throttling
}

/// A Raspberry Pi 4 with an older kernel of the board's maker. hwmon: gokrazy/kernel pull request 273; clocks:
/// geerlingguy/sbc-reviews issue 110; `get_throttled`: custom-components/sensor.rpi_power issue 6.
fn raspberry_pi_4() -> TempDir {
    system(&[
        (
            "proc/device-tree/compatible",
            "raspberrypi,4-model-b\0brcm,bcm2711\0",
        ),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "62322\n"),
        ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "62322\n"),
        ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
            "ondemand\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
            "600000\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
            "1800000\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
            "1800000\n",
        ),
        ("sys/devices/platform/soc/soc:firmware/get_throttled", "80008\n"),
    ])
}

#[test]
fn a_raspberry_pi_4_that_is_warm() {
    let root = raspberry_pi_4();
    let moment = see(root.path());
    assert_eq!(moment.temp_c, Some(62.322));
    assert_eq!(moment.governors, ["ondemand"]);
    let clock = Clock {
        now: Some(600),
        allowed: Some(1_800),
        possible: Some(1_800),
    };
    assert_eq!(moment.cpu, [clock]);
    // 0x80008: the soft limit of temperature, now and before.
    assert_eq!(signs(&moment), (vec![Throttle::SoftTemperatureLimit], 4));
    assert_eq!(faults(&moment), Vec::<String>::new());
}

#[test]
fn a_raspberry_pi_4_whose_voltage_fell_meanwhile() {
    let root = raspberry_pi_4();
    let firmware = "sys/devices/platform/soc/soc:firmware/get_throttled";
    write(root.path(), firmware, "40000\n");
    let before = see(root.path());
    assert_eq!(
        told(&before, &before),
        Some(Vec::new()),
        "what was before is past"
    );
    // 0x50000: under-voltage and throttling since the start; the latter was there before.
    write(root.path(), firmware, "50000\n");
    assert_eq!(
        told(&before, &see(root.path())),
        Some(vec![Throttle::UnderVoltage])
    );
    write(root.path(), firmware, "40000\n");
    write(root.path(), "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n");
    assert_eq!(
        told(&before, &see(root.path())),
        Some(vec![Throttle::UnderVoltage])
    );
}

#[test]
fn a_raspberry_pi_4_with_faults() {
    let root = raspberry_pi_4();
    write(
        root.path(),
        "sys/devices/platform/soc/soc:firmware/get_throttled",
        "maybe\n",
    );
    write(root.path(), "sys/class/thermal/thermal_zone0/temp", "warm\n");
    fs::remove_file(
        root.path()
            .join("sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"),
    )
    .unwrap();
    let moment = see(root.path());
    assert_eq!((moment.temp_c, moment.cpu[0].now), (None, None));
    // The alarm of the supply says nothing of throttling.
    assert_eq!(told(&moment, &moment), None);
    let said = faults(&moment);
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].ends_with("thermal_zone0/temp: it holds `warm` and no number"),
        "{said:?}"
    );
    assert!(
        said[1].ends_with("get_throttled: it holds `maybe` and no hexadecimal number"),
        "{said:?}"
    );
}

/// A Raspberry Pi 5: no file of the firmware's; clocks: geerlingguy/sbc-reviews issue 21; what `vcgencmd` prints:
/// raspberrypi/documentation, `graphics-utilities.adoc`.
fn raspberry_pi_5(script: &str) -> TempDir {
    let root = system(&[
        (
            "proc/device-tree/compatible",
            "raspberrypi,5-model-b\0brcm,bcm2712\0",
        ),
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "55472\n"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
            "ondemand\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
            "2400000\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
            "2400000\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
            "2400000\n",
        ),
    ]);
    program(root.path(), "usr/bin/vcgencmd", script);
    root
}

#[test]
fn a_raspberry_pi_5_that_throttles_from_low_voltage() {
    let root = raspberry_pi_5("#!/bin/sh\n[ \"$1\" = get_throttled ] && echo throttled=0x50005\n");
    let moment = see(root.path());
    assert_eq!(faults(&moment), Vec::<String>::new());
    assert_eq!(
        signs(&moment),
        (vec![Throttle::UnderVoltage, Throttle::Throttled], 4)
    );
    assert_eq!(
        told(&moment, &moment),
        Some(vec![Throttle::UnderVoltage, Throttle::Throttled])
    );
}

#[tokio::test]
async fn what_throttles_a_device_now_is_told_to_its_fleet() {
    let root = raspberry_pi_5("#!/bin/sh\n[ \"$1\" = get_throttled ] && echo throttled=0x50005\n");
    let health = Observer::new(root.path()).await.health().await;
    assert_eq!(
        health.throttling,
        Some(vec![Throttle::UnderVoltage, Throttle::Throttled])
    );
    // What happened since the start of the board is not told: nobody knows when.
    let root = raspberry_pi_5("#!/bin/sh\necho throttled=0x50000\n");
    let observer = Observer::new(root.path()).await;
    assert_eq!(observer.health().await.throttling, Some(Vec::new()));
    let nothing = Observer::new(Path::new("/nowhere")).await.health().await;
    assert_eq!(nothing, Health::default());
}

#[test]
fn a_raspberry_pi_5_whose_tool_is_of_no_use() {
    let root = raspberry_pi_5("#!/bin/sh\necho VCHI initialization failed >&2\nexit 1\n");
    let said = faults(&see(root.path())).join("; ");
    assert!(
        said.contains("VCHI initialization failed; the agent's user must be in the group"),
        "{said}"
    );
    let root = raspberry_pi_5("#!/bin/sh\necho error=1\n");
    let moment = see(root.path());
    assert!(faults(&moment)[0].contains("it holds `error=1` and no `throttled=0x…`"));
    assert_eq!(told(&moment, &moment), None);
    fs::remove_file(root.path().join("usr/bin/vcgencmd")).unwrap();
    let said = faults(&see(root.path())).join("; ");
    assert!(said.ends_with("install `raspi-utils`"), "{said}");
}

/// A Jetson Orin Nano of `JetPack` 6. Zones and clocks: projects' logs of boards with L4T 36.5.0 (paths, 63,625 and 63,781
/// millidegrees, `schedutil`, 729,600 to 1,728,000 kHz, the GPU's 306 to 1,020 MHz); alerts: NVIDIA's
/// `thermal-trip-event`; the parts of computer vision are off and their zones cannot be read.
fn orin_nano() -> TempDir {
    let root = system(&[
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "63625\n"),
        ("sys/class/thermal/thermal_zone2/type", "cv0-thermal\n"),
        ("sys/class/thermal/thermal_zone8/type", "tj-thermal\n"),
        ("sys/class/thermal/thermal_zone8/temp", "63781\n"),
        ("sys/class/thermal/cooling_device0/type", "pwm-fan\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "3\n"),
        ("sys/class/thermal/cooling_device1/type", "cpu-throttle-alert\n"),
        ("sys/class/thermal/cooling_device1/cur_state", "0\n"),
        ("sys/class/thermal/cooling_device2/type", "gpu-throttle-alert\n"),
        ("sys/class/thermal/cooling_device2/cur_state", "0\n"),
        ("sys/class/thermal/cooling_device3/type", "devfreq-17000000.gpu\n"),
        ("sys/class/thermal/cooling_device3/cur_state", "0\n"),
        ("sys/class/hwmon/hwmon3/name", "soctherm_oc\n"),
        ("sys/class/hwmon/hwmon3/oc1_event_cnt", "0\n"),
        ("sys/class/hwmon/hwmon3/oc2_event_cnt", "15\n"),
        ("sys/class/hwmon/hwmon3/oc3_event_cnt", "37\n"),
        ("sys/class/devfreq/17000000.gpu/cur_freq", "306000000\n"),
        ("sys/class/devfreq/17000000.gpu/max_freq", "1020000000\n"),
        ("sys/class/devfreq/17000000.gpu/governor", "nvhost_podgov\n"),
        // A bus that is scaled, too.
        ("sys/class/devfreq/15480000.nvdec/cur_freq", "998400000\n"),
        ("var/lib/nvpmodel/status", "pmode:0002\n"),
        (
            "etc/nvpmodel.conf",
            "# modes\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=MAXN_SUPER >\n",
        ),
    ]);
    for policy in ["policy0", "policy4"] {
        let policy = format!("sys/devices/system/cpu/cpufreq/{policy}");
        write(root.path(), &format!("{policy}/scaling_governor"), "schedutil\n");
        write(root.path(), &format!("{policy}/scaling_cur_freq"), "729600\n");
        write(root.path(), &format!("{policy}/scaling_max_freq"), "1728000\n");
        write(root.path(), &format!("{policy}/cpuinfo_max_freq"), "1728000\n");
    }
    // A folder cannot be read as a file, as little as the zone of a part that is off.
    fs::create_dir_all(root.path().join("sys/class/thermal/thermal_zone2/temp")).unwrap();
    root
}

#[test]
fn an_orin_nano() {
    let root = orin_nano();
    let before = see(root.path());
    assert_eq!((before.temp_c, faults(&before)), (Some(63.781), Vec::new()));
    assert_eq!(before.governors, ["schedutil"]);
    let gpu = Clock {
        now: Some(306),
        allowed: Some(1_020),
        possible: None,
    };
    assert_eq!(before.gpu, [gpu]);
    assert_eq!(nvpmodel::mode(root.path()).as_deref(), Some("MAXN_SUPER"));
    assert_eq!(told(&before, &before), Some(Vec::new()));
    let state = between::state(&before, &before, &before, 0.1);
    assert_eq!(
        (state.cpu_mhz, state.gpu_mhz),
        (Some([729, 729]), Some([306, 306]))
    );
}

#[test]
fn an_orin_nano_that_gets_too_hot() {
    let root = orin_nano();
    let before = see(root.path());
    write(root.path(), "sys/class/hwmon/hwmon3/oc3_event_cnt", "40\n");
    assert_eq!(
        told(&before, &see(root.path())),
        Some(vec![Throttle::OverCurrent])
    );
    write(root.path(), "sys/class/thermal/cooling_device2/cur_state", "1\n");
    write(root.path(), "sys/class/thermal/cooling_device3/cur_state", "4\n");
    let expected = vec![
        Throttle::FrequencyCapped,
        Throttle::Throttled,
        Throttle::OverCurrent,
    ];
    assert_eq!(told(&before, &see(root.path())), Some(expected));
}

#[test]
fn an_orin_nano_whose_gpu_is_capped_meanwhile() {
    let root = orin_nano();
    let before = see(root.path());
    write(
        root.path(),
        "sys/class/devfreq/17000000.gpu/max_freq",
        "612000000\n",
    );
    assert_eq!(
        told(&before, &see(root.path())),
        Some(vec![Throttle::FrequencyCapped])
    );
}

#[test]
fn a_mode_of_power_without_a_list() {
    assert_eq!(
        nvpmodel::parse("pmode:0001 fmode:quiet", "").as_deref(),
        Some("1")
    );
    assert_eq!(nvpmodel::parse("fmode:quiet", ""), None);
    assert_eq!(nvpmodel::parse("pmode:x", "< POWER_MODEL ID=0 NAME=MAXN >"), None);
}

/// A Jetson Nano of `JetPack` 4. Zones: ironsheep/RPi-Reporter-MQTT2HA-Daemon issue 22; the GPU: `rbonghi/jetson_stats`
/// issue 427. Nothing there tells of throttling.
#[test]
fn a_jetson_nano() {
    let root = system(&[
        ("sys/class/thermal/thermal_zone0/type", "AO-therm\n"),
        ("sys/class/thermal/thermal_zone0/temp", "31000\n"),
        ("sys/class/thermal/thermal_zone1/type", "CPU-therm\n"),
        ("sys/class/thermal/thermal_zone1/temp", "24500\n"),
        ("sys/class/thermal/thermal_zone4/type", "PMIC-Die\n"),
        ("sys/class/thermal/thermal_zone4/temp", "100000\n"),
        ("sys/class/thermal/thermal_zone5/type", "thermal-fan-est\n"),
        ("sys/class/thermal/thermal_zone5/temp", "25500\n"),
        ("sys/class/devfreq/57000000.gpu/cur_freq", "921600000\n"),
        ("sys/class/devfreq/57000000.gpu/max_freq", "921600000\n"),
    ]);
    let moment = see(root.path());
    assert_eq!((moment.temp_c, moment.gpu[0].now), (Some(31.0), Some(921)));
    assert_eq!((told(&moment, &moment), faults(&moment)), (None, Vec::new()));
}

/// A laptop of Intel's: `prometheus/node_exporter`, `collector/fixtures/sys.ttar`, and a zone of
/// `prometheus/procfs`, whose fixture has one below zero.
#[test]
fn a_laptop_of_intels() {
    let counts = "sys/devices/system/cpu/cpu0/thermal_throttle";
    let root = system(&[
        ("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n"),
        ("sys/class/thermal/thermal_zone0/temp", "12376\n"),
        ("sys/class/thermal/thermal_zone1/type", "acpitz\n"),
        ("sys/class/thermal/thermal_zone1/temp", "-44000\n"),
        ("sys/class/thermal/cooling_device0/type", "Processor\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "0\n"),
        ("sys/class/thermal/cooling_device1/type", "TFN1\n"),
        ("sys/class/thermal/cooling_device2/type", "intel_powerclamp\n"),
        ("sys/class/thermal/cooling_device2/cur_state", "-1\n"),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_governor",
            "powersave\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq",
            "1699981\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq",
            "3700000\n",
        ),
        (
            "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq",
            "3700000\n",
        ),
        (&format!("{counts}/core_throttle_count"), "5\n"),
        (&format!("{counts}/package_throttle_count"), "30\n"),
    ]);
    let before = see(root.path());
    assert_eq!((before.temp_c, before.cpu[0].now), (Some(12.376), Some(1_699)));
    assert_eq!(
        (told(&before, &before), faults(&before)),
        (Some(Vec::new()), Vec::new())
    );
    write(root.path(), &format!("{counts}/package_throttle_count"), "31\n");
    assert_eq!(told(&before, &see(root.path())), Some(vec![Throttle::Throttled]));
}

/// A laptop of AMD's whose clock was left at its lowest by a fault (linrunner/TLP issue 764). Such have no counters of
/// throttling.
#[tokio::test]
async fn a_laptop_of_amds_with_a_capped_clock() {
    let policy = "sys/devices/system/cpu/cpufreq/policy0";
    let root = system(&[
        (&format!("{policy}/scaling_driver"), "amd-pstate-epp\n"),
        (&format!("{policy}/scaling_governor"), "powersave\n"),
        (&format!("{policy}/scaling_cur_freq"), "400000\n"),
        (&format!("{policy}/scaling_max_freq"), "400000\n"),
        (&format!("{policy}/cpuinfo_max_freq"), "4463000\n"),
        ("sys/class/thermal/cooling_device0/type", "Processor\n"),
        ("sys/class/thermal/cooling_device0/cur_state", "0\n"),
    ]);
    let observer = Observer::new(root.path()).await;
    assert_eq!(observer.cpu_limit_mhz(), Some([400, 4_463]));
    let moment = observer.look(None).await;
    let state = observer.between(&moment, &moment, 0.1);
    assert_eq!((state.throttling, state.cpu_mhz), (None, Some([400, 400])));
}

#[tokio::test]
async fn a_device_that_tells_nothing_has_no_figures() {
    let root = system(&[]);
    let observer = Observer::new(root.path()).await;
    let moment = observer.look(Some(std::process::id())).await;
    assert_eq!(moment, Moment::default());
    assert_eq!((observer.cpu_limit_mhz(), observer.power_mode()), (None, None));
    assert_eq!(observer.between(&moment, &moment, 0.1), RoundState::default());
}
