//! The start: files that others can read.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::served::Folder;
use super::support::{gateway, run};

#[test]
fn what_others_can_read_is_not_used() {
    let folder = Folder::new();
    for (file, key) in [
        ("certs/server.key", "tls.key"),
        ("log-signing-key", "log.signing_key"),
        ("key-ring", "log.key_ring"),
        ("gateway.sqlite", "database.sqlite"),
    ] {
        let path = folder.file(file);
        let set = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        for mode in [0o640, 0o604, 0o660] {
            set(mode);
            folder.is_refused(&[key, path.to_str().unwrap(), &format!("mode {mode:04o}"), "chmod 600"]);
        }
        set(0o600);
    }
    assert_eq!(folder.run("check").0, 0);
}

/// A umask can leave files open to everybody, or without a right for their owner.
#[test]
fn what_init_makes_is_private_whatever_the_umask() {
    let folder = Folder::new();
    let good = folder.configuration();
    for umask in ["000", "022", "077"] {
        let folder_made = folder.file(&format!("made-{umask}"));
        let name = folder_made.to_str().unwrap();
        let moved =
            ["gateway.sqlite", "log-signing-key", "key-ring"].iter().fold(good.clone(), |text, file| {
                text.replace(&format!("\"{file}\""), &format!("\"{name}/{file}\""))
            });
        folder.write("gateway.toml", &moved.replace("\"anchor\"", &format!("\"{name}/anchor\"")));
        let mut init = Command::new("sh");
        init.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(gateway().get_program());
        init.args(["init", "--origin", "ap.example/log", "--config"]).arg(folder.file("gateway.toml"));
        run(init.arg("--operator-certificate").arg(folder.file("certs/operator.pem")));
        let mut found = 0;
        for entry in std::fs::read_dir(&folder_made).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o600, "{} under umask {umask}", entry.path().display());
            found += 1;
        }
        assert!(found >= 4, "{found}");
    }
}
