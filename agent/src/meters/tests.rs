//! Devices as trees of files, built from public documentation and published listings; none is a recording of ours.
//!
//! Where no listing has a number, the tree has one that the sensor can show, and says so. The power that must come out
//! was computed by hand and stands beside it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use edgefront_protocol::{Microwatts, Scope, Step};
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

/// What is found below `root`.
fn find(root: &Path) -> Found {
    super::find(&Sources {
        system: root.to_owned(),
        ..Sources::default()
    })
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// One meter of a tree: its rails, each with its scope, `*` where it is the total, and its value.
fn read(meter: &mut dyn Meter) -> Vec<(String, Scope, bool, u64)> {
    let values = meter.read().unwrap();
    let rails = meter.rails().iter().zip(values);
    rails
        .map(|(channel, value)| {
            let rail = &channel.rail;
            (
                rail.name.clone().unwrap_or_default(),
                rail.scope,
                rail.is_total,
                value,
            )
        })
        .collect()
}

fn expect(found: &mut Found, expected: &[(&str, Scope, bool, u64)]) {
    let [meter] = &mut found.meters[..] else {
        panic!("{} meters; {:?}", found.meters.len(), found.faults);
    };
    let expected: Vec<_> = expected
        .iter()
        .map(|&(name, scope, is_total, value)| (name.to_owned(), scope, is_total, value))
        .collect();
    assert_eq!(read(meter.as_mut()), expected);
}

fn faults(found: &Found) -> Vec<String> {
    found.faults.iter().map(ToString::to_string).collect()
}

/// Jetson Orin Nano, `JetPack` 6. Labels and the first rail: a decision log of fastnvmetrics and a test tree "laid out like the
/// Orin Nano's" (4984 mV, 1856 mA); shunts: the device tree. The other rails' currents are of the published range
/// ("0.4-0.5 A / 0.47-0.5 A" idle), in steps of 8 mA.
const ORIN_NANO: [(&str, &str); 14] = [
    (
        "proc/device-tree/compatible",
        "nvidia,p3768-0000+p3767-0005\0nvidia,tegra234\0",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/name",
        "ina3221\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_label",
        "VDD_IN\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in1_input",
        "4984\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr1_input",
        "1856\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/shunt1_resistor",
        "5000\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_label",
        "VDD_CPU_GPU_CV\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in2_input",
        "4984\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr2_input",
        "400\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in3_label",
        "VDD_SOC\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in3_input",
        "4984\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/curr3_input",
        "480\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in7_label",
        "sum of shunt voltages\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1/in7_input",
        "760\n",
    ),
];

#[test]
fn a_jetson_orin_nano() {
    let root = system(&ORIN_NANO);
    let mut found = find(root.path());
    assert_eq!(faults(&found), Vec::<String>::new());
    // 4.984 V x 1.856 A = 9.250304 W; x 0.4 A = 1.9936 W; x 0.48 A = 2.39232 W. in7 is no rail.
    expect(
        &mut found,
        &[
            ("VDD_IN", Scope::Module, true, 9_250_304),
            ("VDD_CPU_GPU_CV", Scope::Soc, false, 1_993_600),
            ("VDD_SOC", Scope::Soc, false, 2_392_320),
        ],
    );
    let steps: Vec<_> = found.meters[0]
        .rails()
        .iter()
        .map(|channel| channel.rail.step)
        .collect();
    // 40 uV at 5 mOhm are 8 mA, at 4.984 V 39.872 mW; of the other rails no shunt is told.
    assert_eq!(steps, [Some(Step::Power(Microwatts(39_872))), None, None]);
}

#[test]
fn a_jetson_orin_nano_that_lacks_its_total() {
    let without: Vec<_> = ORIN_NANO
        .into_iter()
        .filter(|(path, _)| !path.contains("/in1_"))
        .collect();
    let root = system(&without);
    let mut found = find(root.path());
    assert_eq!(
        faults(&found),
        ["ina3221 of Jetson Orin Nano or NX should have the rail VDD_IN, which is not there"]
    );
    let rails = [
        ("VDD_CPU_GPU_CV", Scope::Soc, false, 1_993_600),
        ("VDD_SOC", Scope::Soc, false, 2_392_320),
    ];
    expect(&mut found, &rails);
}

/// AGX Orin, `JetPack` 6: labels and values published with a test of jetson metrics (12008 mV x 280, 40 mA; 4968 mV x 980 and 80 mA).
/// That test adds all rails to 9108 mW and so counts the memory twice.
const AGX_ORIN: [(&str, &str); 17] = [
    (
        "proc/device-tree/compatible",
        "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_label",
        "VDD_GPU_SOC\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in1_input",
        "12008\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr1_input",
        "280\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in2_label",
        "VDD_CPU_CV\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in2_input",
        "12008\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr2_input",
        "40\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in3_label",
        "VIN_SYS_5V0\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/in3_input",
        "4968\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr3_input",
        "980\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3/curr4_input",
        "360\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in1_label",
        "NC\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in2_label",
        "VDDQ_VDD2_1V8AO\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in2_input",
        "4968\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/curr2_input",
        "80\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/update_interval",
        "35\n",
    ),
    (
        "sys/bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/in3_label",
        "NC\n",
    ),
];

#[test]
fn a_jetson_agx_orin_has_no_rail_that_holds_all_and_memory_is_counted_once() {
    let root = system(&AGX_ORIN);
    let mut found = find(root.path());
    // 12.008 V x 0.28 A = 3.36224 W; x 0.04 A = 0.48032 W; 4.968 V x 0.98 A = 4.86864 W: 8.7112 W in all. Memory has
    // 4.968 V x 0.08 A = 0.39744 W of the 4.86864 W.
    expect(
        &mut found,
        &[
            ("VDD_GPU_SOC", Scope::Soc, false, 3_362_240),
            ("VDD_CPU_CV", Scope::Soc, false, 480_320),
            ("VIN_SYS_5V0", Scope::Module, false, 4_868_640),
            ("VDDQ_VDD2_1V8AO", Scope::Module, false, 397_440),
            (
                "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0",
                Scope::Module,
                true,
                8_711_200,
            ),
        ],
    );
    assert_eq!(found.meters[0].period(), Duration::from_millis(35));
    let unconnected = "of ina3221 is not connected (its label is `NC`)";
    assert_eq!(
        faults(&found),
        [
            format!("channel 1 {unconnected}"),
            format!("channel 3 {unconnected}")
        ]
    );
}

/// Xavier NX, `JetPack` 5: path and labels from alumet's README; no listing has numbers, these are of the idle range.
#[test]
fn a_jetson_xavier_nx() {
    let root = system(&[
        (
            "proc/device-tree/compatible",
            "nvidia,p3509-0000+p3668-0000\0nvidia,tegra194\0",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in1_label",
            "VDD_IN\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in1_input",
            "5000\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/curr1_input",
            "680\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in2_label",
            "VDD_CPU_GPU_CV\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in2_input",
            "5000\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/curr2_input",
            "96\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in3_label",
            "VDD_SOC\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/in3_input",
            "5000\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221/7-0040/hwmon/hwmon6/curr3_input",
            "200\n",
        ),
    ]);
    // 5 V x 0.68, 0.096 and 0.2 A.
    expect(
        &mut find(root.path()),
        &[
            ("VDD_IN", Scope::Module, true, 3_400_000),
            ("VDD_CPU_GPU_CV", Scope::Soc, false, 480_000),
            ("VDD_SOC", Scope::Soc, false, 1_000_000),
        ],
    );
}

/// Nano, `JetPack` 4: labels and 2875 mW from a published test tree, the other rails from a listing of tegrastats.
#[test]
fn a_jetson_nano_of_jetpack_4() {
    let root = system(&[
        (
            "proc/device-tree/compatible",
            "nvidia,p3449-0000-b00+p3448-0000-b00\0nvidia,jetson-nano\0nvidia,tegra210\0",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0",
            "POM_5V_IN\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power0_input",
            "2875\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/crit_current_limit_0",
            "32760 ma\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_1",
            "POM_5V_GPU\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input",
            "0\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_2",
            "POM_5V_CPU\n",
        ),
        (
            "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power2_input",
            "366\n",
        ),
    ]);
    expect(
        &mut find(root.path()),
        &[
            ("POM_5V_IN", Scope::Module, true, 2_875_000),
            ("POM_5V_GPU", Scope::Soc, false, 0),
            ("POM_5V_CPU", Scope::Soc, false, 366_000),
        ],
    );
}

/// Pi 4: what `node_exporter` printed on one (gokrazy/kernel PR 273), as the files that it reads.
#[test]
fn a_raspberry_pi_4_has_no_meter() {
    let root = system(&[
        (
            "proc/device-tree/compatible",
            "raspberrypi,4-model-b\0brcm,bcm2711\0",
        ),
        ("sys/class/hwmon/hwmon0/name", "cpu_thermal\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "62322\n"),
        ("sys/class/hwmon/hwmon0/temp1_crit", "90000\n"),
        ("sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
        ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", "0\n"),
    ]);
    let found = find(root.path());
    assert!(found.meters.is_empty() && found.faults.is_empty());
}

/// `vcgencmd pmic_read_adc` of an idle board, as published (gist of cleverca22), in another order than the firmware's.
const PMIC: &str = "     3V7_WL_SW_A current(0)=0.04782057A
   3V3_SYS_A current(1)=0.04684464A
   1V8_SYS_A current(2)=0.17078780A
  DDR_VDD2_A current(3)=0.02049453A
  DDR_VDDQ_A current(4)=0.00000000A
   1V1_SYS_A current(5)=0.18933040A
    0V8_SW_A current(6)=0.32888840A
  VDD_CORE_A current(7)=0.92871990A
   3V3_DAC_A current(17)=0.00054945A
   3V3_ADC_A current(18)=0.00018315A
   0V8_AON_A current(16)=0.00586080A
      HDMI_A current(22)=0.01636140A
 3V7_WL_SW_V volt(8)=3.70534400V
   3V3_SYS_V volt(9)=3.31467300V
   1V8_SYS_V volt(10)=1.80903400V
  DDR_VDD2_V volt(11)=1.10292900V
  DDR_VDDQ_V volt(12)=0.61575030V
   1V1_SYS_V volt(13)=1.10512700V
    0V8_SW_V volt(14)=0.80292960V
  VDD_CORE_V volt(15)=0.72097620V
   3V3_DAC_V volt(20)=3.30952000V
   3V3_ADC_V volt(21)=3.30952000V
   0V8_AON_V volt(19)=0.79765500V
      HDMI_V volt(23)=5.16034000V
     EXT5V_V volt(24)=5.17105900V
      BATT_V volt(25)=0.00598290V
";

/// A Raspberry Pi 5 whose firmware says this.
fn raspberry_pi_5(said: &str) -> TempDir {
    let root = system(&[(
        "proc/device-tree/compatible",
        "raspberrypi,5-model-b\0brcm,bcm2712\0",
    )]);
    let script = format!("#!/bin/sh\n[ \"$1\" = pmic_read_adc ] && cat <<'EOF'\n{said}EOF\n");
    write(root.path(), "usr/bin/vcgencmd", &script);
    let program = root.path().join("usr/bin/vcgencmd");
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    root
}

#[test]
fn a_raspberry_pi_5() {
    let mut found = find(raspberry_pi_5(PMIC).path());
    assert_eq!(faults(&found), Vec::<String>::new());
    let [meter] = &mut found.meters[..] else {
        panic!("one meter");
    };
    let rails: Vec<_> = meter.rails().iter().map(ToString::to_string).collect();
    assert_eq!(
        (rails.len(), rails[7].as_str(), rails[12].as_str()),
        (13, "pmic VDD_CORE", "pmic sum")
    );
}

#[test]
fn the_rails_of_a_raspberry_pi_5_are_paired_by_name() {
    let rails = pmic::parse(PMIC).unwrap();
    // The core: 0.7209762 V x 0.9287199 A = 0.669585 W. All twelve: 1.89845 W.
    assert_eq!(rails[7], ("VDD_CORE".to_owned(), 669_585));
    let sum: u64 = rails.iter().map(|(_, power)| power).sum();
    assert_eq!((rails.len(), (sum + 5) / 10), (12, 189_845));
    assert_eq!(pmic::parse("error=1 error_msg=\"Command not registered\""), None);
    assert_eq!(
        pmic::parse("VDD_CORE_A current(7)=NaNA\nVDD_CORE_V volt(15)=0.7V"),
        None
    );
}

#[test]
fn a_raspberry_pi_5_whose_firmware_does_not_tell() {
    let said = faults(&find(
        raspberry_pi_5("error=1 error_msg=\"Command not registered\"\n").path(),
    ));
    assert!(
        said[0].contains("`pmic_read_adc` says `error=1 error_msg"),
        "{said:?}"
    );
    let without = system(&[(
        "proc/device-tree/compatible",
        "raspberrypi,5-model-b\0brcm,bcm2712\0",
    )]);
    assert!(
        faults(&find(without.path()))[0]
            .ends_with("usr/bin/vcgencmd: it is not there; install `raspi-utils`")
    );
}

/// A laptop of Intel's: the counters that an i7 of a laptop showed (`MangoHud` issue 1776), with the zone `psys` and the
/// second path to the package that others have (linux-pm; powercap/powercap issue 3), all of 32 bits of 61 uJ.
const INTEL: [(&str, &str); 15] = [
    ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
    ("sys/class/powercap/intel-rapl:0/energy_uj", "26963529117\n"),
    (
        "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
        "262143328850\n",
    ),
    ("sys/class/powercap/intel-rapl:0:0/name", "core\n"),
    ("sys/class/powercap/intel-rapl:0:0/energy_uj", "7980278886\n"),
    (
        "sys/class/powercap/intel-rapl:0:0/max_energy_range_uj",
        "262143328850\n",
    ),
    ("sys/class/powercap/intel-rapl:0:2/name", "dram\n"),
    ("sys/class/powercap/intel-rapl:0:2/energy_uj", "2469474853\n"),
    (
        "sys/class/powercap/intel-rapl:0:2/max_energy_range_uj",
        "262143999938\n",
    ),
    ("sys/class/powercap/intel-rapl:1/name", "psys\n"),
    ("sys/class/powercap/intel-rapl:1/energy_uj", "262143328000\n"),
    (
        "sys/class/powercap/intel-rapl:1/max_energy_range_uj",
        "262143328850\n",
    ),
    ("sys/class/powercap/intel-rapl-mmio:0/name", "package-0\n"),
    ("sys/class/powercap/intel-rapl-mmio:0/energy_uj", "26963529117\n"),
    (
        "sys/class/powercap/intel-rapl-mmio:0/max_energy_range_uj",
        "262143328850\n",
    ),
];

#[test]
fn a_laptop_of_intels_whose_counter_wraps() {
    let root = system(&INTEL);
    let mut found = find(root.path());
    assert_eq!(faults(&found), Vec::<String>::new());
    // A second later: 9 J more in the package, 5 in its cores, 1 in the memory beside it. The platform took 14 J, of
    // which 850 uJ up to the end of its range.
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0/energy_uj",
        "26972529117\n",
    );
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0:0/energy_uj",
        "7985278886\n",
    );
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0:2/energy_uj",
        "2470474853\n",
    );
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:1/energy_uj",
        "13999150\n",
    );
    expect(
        &mut found,
        &[
            ("package-0", Scope::Soc, false, 9_000_000),
            ("core", Scope::Soc, false, 5_000_000),
            ("dram", Scope::Soc, false, 1_000_000),
            ("psys", Scope::Board, false, 14_000_000),
            ("package-0+dram", Scope::Soc, true, 10_000_000),
        ],
    );
}

#[test]
fn a_counter_beyond_its_range_is_not_believed() {
    let root = system(&INTEL);
    // intel/powertelemetry issue 3.
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0/energy_uj",
        "60293987000000\n",
    );
    let found = find(root.path());
    let [said] = &faults(&found)[..] else {
        panic!("one fault");
    };
    assert!(
        said.ends_with("energy_uj: it holds 60293987000000, beyond its range of 262143328850"),
        "{said}"
    );
    let rails = found.meters[0].rails().iter().map(|channel| &channel.rail);
    assert!(
        rails.clone().all(|rail| !rail.is_total),
        "the package is not among them"
    );
    let names = rails.map(|rail| rail.name.clone().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["core", "dram", "psys"]);
}

/// A laptop of AMD's: counters of a Strix Halo (`halo_monitor`), the graphics' sensor of a `ThinkPad` (freon PR 249: 17.08 W).
#[test]
fn a_laptop_of_amds() {
    let root = system(&[
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "65532000000\n"),
        (
            "sys/class/powercap/intel-rapl:0/max_energy_range_uj",
            "65532610987\n",
        ),
        ("sys/class/hwmon/hwmon4/name", "amdgpu\n"),
        ("sys/class/hwmon/hwmon4/power1_average", "17080000\n"),
        ("sys/class/hwmon/hwmon4/power1_label", "PPT\n"),
        ("sys/class/hwmon/hwmon5/name", "k10temp\n"),
        ("sys/class/hwmon/hwmon5/temp1_input", "67000\n"),
    ]);
    let mut found = find(root.path());
    // 0.610987 J to the end of the range and 24.389013 J from 0: 25 J.
    write(
        root.path(),
        "sys/class/powercap/intel-rapl:0/energy_uj",
        "24389013\n",
    );
    let [rapl, graphics] = &mut found.meters[..] else {
        panic!("two meters");
    };
    assert_eq!(
        read(rapl.as_mut()),
        [("package-0".to_owned(), Scope::Soc, true, 25_000_000)]
    );
    assert_eq!(
        read(graphics.as_mut()),
        [("PPT".to_owned(), Scope::Gpu, true, 17_080_000)]
    );
}

/// The battery of `node_exporter`'s test tree (5.002 W), of a Dell (cnx PR 31), and of a Snapdragon X1, whose current is
/// negative (Waybar PR 3942).
#[test]
fn batteries_tell_the_whole_device_while_they_discharge() {
    let power = [
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
        ("sys/class/power_supply/BAT0/power_now", "5002000\n"),
        ("sys/class/power_supply/AC/type", "Mains\n"),
    ];
    let root = system(&power);
    let mut found = find(root.path());
    expect(&mut found, &[("BAT0", Scope::Board, true, 5_002_000)]);
    write(root.path(), "sys/class/power_supply/BAT0/status", "Charging\n");
    let said = found.meters[0].read().unwrap_err().to_string();
    assert!(
        said.ends_with(
            "the battery is `Charging`, so it does not tell what the device takes; unplug the charger"
        ),
        "{said}"
    );
    let found = find(root.path());
    assert!(found.meters.is_empty() && faults(&found)[0].contains("`Charging`"));

    for current in ["756000\n", "-756000\n"] {
        let root = system(&[
            ("sys/class/power_supply/BAT1/type", "Battery\n"),
            ("sys/class/power_supply/BAT1/status", "Discharging\n"),
            ("sys/class/power_supply/BAT1/voltage_now", "12600000\n"),
            ("sys/class/power_supply/BAT1/current_now", current),
        ]);
        // 12.6 V x 0.756 A = 9.5256 W.
        expect(&mut find(root.path()), &[("BAT1", Scope::Board, true, 9_525_600)]);
    }
}

#[test]
fn a_gauge_that_tells_nothing_is_no_meter_of_0_watts() {
    let root = system(&[
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/power_supply/BAT0/status", "Discharging\n"),
        ("sys/class/power_supply/BAT0/power_now", "0\n"),
    ]);
    let said = find(root.path()).meters[0].read().unwrap_err().to_string();
    assert!(said.ends_with("it tells 0 W"), "{said}");
}

/// As root no mode of a file keeps it from being read, so the system's answer is given here.
#[test]
fn what_may_not_be_read_is_told_with_the_mend() {
    let path = Path::new("/sys/class/powercap/intel-rapl:0/energy_uj");
    let denied = Fault::of(path, &io::ErrorKind::PermissionDenied.into());
    assert_eq!(
        denied.to_string(),
        "/sys/class/powercap/intel-rapl:0/energy_uj may not be read: let the agent's user read it (`chmod a+r \
         /sys/class/powercap/intel-rapl:0/energy_uj` until the next start, or a rule of udev)"
    );
}
