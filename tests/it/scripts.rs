//! The scripts that set up a machine and run the tests refuse what they can't do, and say why.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::servers::{server, signal};

/// One at a time: a process that is started while a program is being written would hold it open, and
/// what is open for writing can't be run.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A folder with these programs alone, each a line of shell.
fn machine(name: &str, programs: &[(&str, &str)]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    for (program, line) in programs {
        let path = folder.join(program);
        fs::write(&path, format!("#!/bin/sh\n{line}\n")).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

/// Runs a script of ours on a machine that has no other programs.
fn run(script: &str, arguments: &[&str], path: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut bash = Command::new("/bin/bash");
    bash.arg(script).args(arguments).env("PATH", path);
    // As if the databases were up: no other program of this machine is to be started.
    bash.env("WRISTBAND_SERVERS", "up").output().unwrap()
}

#[track_caller]
fn assert_fails(output: &Output, words: &str) {
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "it should have failed");
    assert!(message.contains(words), "{words:?} is not in {message:?}");
}

const LINKER: (&str, &str) = ("cc", "exit 0");

#[test]
fn what_is_missing_on_a_machine_is_said() {
    let _turn = turn();
    let user = ("id", "echo 1000");
    let apt = ("apt-get", "exit 9");
    let no_clippy = ("cargo", "test \"$1\" != clippy");
    for (name, programs, words) in [
        ("no-sudo", &[user, apt][..], "it takes root or sudo"),
        ("no-apt", &[user], "install a C compiler"),
        ("no-cargo", &[LINKER], "https://rustup.rs"),
        ("no-clippy", &[LINKER, no_clippy], "rustup component add clippy"),
        ("no-fmt", &[LINKER, ("cargo", "test \"$1\" != fmt")], "rustup component add rustfmt"),
    ] {
        let path = machine(name, programs);
        assert_fails(&run("setup.sh", &["fmt", "clippy"], path.to_str().unwrap()), words);
    }
    let path = machine("all", &[LINKER, ("cargo", "exit 0")]);
    assert!(run("setup.sh", &["fmt", "clippy"], path.to_str().unwrap()).status.success());
}

#[test]
fn a_linker_is_installed_where_it_is_missing() {
    let _turn = turn();
    for (name, user) in [("root", "0"), ("sudoer", "1000")] {
        let id = format!("echo {user}");
        let programs = [
            ("id", &*id),
            ("sudo", "echo sudo; \"$@\""),
            ("apt-get", "echo \"apt-get $1\""),
            ("cargo", "exit 0"),
        ];
        let path = machine(name, &programs);
        let output = run("setup.sh", &[], path.to_str().unwrap());
        let expected = match user {
            "0" => "apt-get update\napt-get install\n",
            _ => "sudo\napt-get update\nsudo\napt-get install\n",
        };
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert!(output.status.success());
    }
}

#[test]
fn databases_are_installed_where_they_are_missing_and_become_no_services() {
    let _turn = turn();
    let programs = [
        LINKER,
        ("cargo", "exit 0"),
        ("redis-server", "exit 0"),
        ("id", "echo 1000"),
        ("apt-get", "exit 0"),
        // Says what is to be done as root, and does none of it.
        ("sudo", "echo \"$@\""),
    ];
    let path = machine("no-databases", &programs);
    let output = run("setup.sh", &["servers"], path.to_str().unwrap());
    assert!(output.status.success());
    let install = "apt-get update\n\
        apt-get install -y --no-install-recommends postgresql pgbouncer mariadb-server-core \
        mariadb-client-core\n";
    let policy = "/usr/sbin/policy-rc.d";
    let expected = if Path::new(policy).exists() {
        install.to_owned()
    } else {
        // What `tee` is given goes unseen, and so does its output.
        format!("chmod +x {policy}\n{install}rm -f {policy}\n")
    };
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn clients_are_installed_where_they_are_missing_and_become_no_services() {
    let _turn = turn();
    let programs = [
        LINKER,
        ("cargo", "exit 0"),
        ("curl", "exit 0"),
        ("id", "echo 1000"),
        ("apt-get", "exit 0"),
        ("sudo", "echo \"$@\""),
    ];
    // The one place besides where a script looks.
    let requests = Command::new("/usr/bin/python3").args(["-c", "import requests"]).output();
    let requests = requests.is_ok_and(|output| output.status.success());
    let path = machine("no-clients", &programs);
    let output = run("setup.sh", &["clients"], path.to_str().unwrap());
    assert!(output.status.success());
    let said = String::from_utf8(output.stdout).unwrap();
    let install = "apt-get install -y --no-install-recommends chromium chromium-driver golang-go";
    assert!(said.contains(install), "{said}");
    assert!(said.contains(" openssl"), "{said}");
    assert_eq!(said.contains("python3-requests"), !requests, "{said}");
    assert_eq!(said.contains("policy-rc.d"), !Path::new("/usr/sbin/policy-rc.d").exists());
}

#[test]
fn what_a_fuzzer_takes_is_installed_where_there_is_nightly_rust_to_run_it() {
    let _turn = turn();
    let apt = ("apt-get", "echo \"$@\"");
    for (name, cargo, expected) in [
        (
            "nightly",
            "echo \"$@\"; test \"$1\" != fuzz",
            "update\ninstall -y --no-install-recommends g++\ninstall --locked --debug cargo-fuzz\n",
        ),
        ("no-nightly", "test \"$1\" != +nightly", ""),
    ] {
        let path = machine(name, &[LINKER, ("id", "echo 0"), apt, ("cargo", cargo)]);
        let output = run("setup.sh", &["fuzz"], path.to_str().unwrap());
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
        assert!(output.status.success());
    }
}

#[test]
fn without_nightly_rust_fuzz_targets_run_without_a_fuzzer() {
    let _turn = turn();
    let cargo = "case $1 in +nightly) exit 1;; run) echo \"$@\";; esac";
    let folder = machine("stable", &[LINKER, ("cargo", cargo)]);
    let path = format!("{}:/usr/bin:/bin", folder.to_str().unwrap());
    let output = run("../fuzz/run.sh", &["7", "tokens"], &path);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let command = "run --locked --quiet --release --manifest-path fuzz/Cargo.toml";
    assert_eq!(stdout, format!("== tokens\n{command} --bin tokens -- 7\n"));
    assert!(output.status.success());
}

/// With a cargo that finds this many tests.
fn long(found: &str, shard: &str) -> Output {
    let cargo = format!("echo 'running {found}'");
    let folder = machine(&format!("long-{found}"), &[LINKER, ("cargo", &cargo)]);
    run("long.sh", &[shard], &format!("{}:/usr/bin:/bin", folder.to_str().unwrap()))
}

#[test]
fn the_long_tests_refuse_a_shard_that_is_none() {
    let _turn = turn();
    for shard in ["4/3", "0/3", "1/0", "1", "x/3", "1/3/2", "-1/3", "1/"] {
        assert_fails(&long("1 test", shard), "is no shard");
    }
    for shard in ["1/90", "2/90"] {
        assert!(long("1 test", shard).status.success(), "{shard}");
    }
}

#[test]
fn the_long_tests_fail_where_no_test_matches() {
    let _turn = turn();
    assert_fails(&long("0 tests", "1/90"), "no test matches");
}

/// `servers.sh`, which starts servers of its own even where those of the tests are.
fn servers(command: &str) -> Command {
    let _ = server("WRISTBAND_SERVERS");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers.sh");
    let mut servers = Command::new(script);
    servers.args(["sh", "-c", command]).env_remove("WRISTBAND_SERVERS");
    servers
}

/// Whether anything is left of the servers: their directory, or a process that works in it.
fn is_left(directory: &str) -> bool {
    let works_there = |process: fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|at| at.starts_with(directory))
    };
    Path::new(directory).exists() || fs::read_dir("/proc").unwrap().flatten().any(works_there)
}

#[test]
fn servers_are_stopped_when_the_command_fails() {
    let _turn = turn();
    let output = servers("echo $WRISTBAND_SERVERS; exit 7").output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let directory = String::from_utf8(output.stdout).unwrap();
    assert!(!is_left(directory.trim()));
}

#[test]
fn servers_are_stopped_when_the_script_is_terminated_and_so_are_those_that_a_test_left_behind() {
    let _turn = turn();
    let command = "cd $WRISTBAND_SERVERS/private && mkdir test && cd test
        setsid sleep 600 &
        echo $WRISTBAND_SERVERS
        sleep 600";
    let mut script = servers(command).stdout(Stdio::piped()).spawn().unwrap();
    let mut directory = String::new();
    BufReader::new(script.stdout.as_mut().unwrap()).read_line(&mut directory).unwrap();
    assert!(is_left(directory.trim()));
    signal("TERM", script.id());
    assert_eq!(script.wait().unwrap().code(), Some(143));
    assert!(!is_left(directory.trim()));
}
