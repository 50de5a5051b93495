//! Agents for devices: static executables, one per instruction set, found in a few folders. Builds none.

use crate::transport::HostFile;
use std::{
    env,
    path::{Path, PathBuf},
};

/// Folder of agents below the host's cache folder.
const FOLDER: &str = "agents";

/// Where agents may lie, the first place wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agents {
    folders: Vec<PathBuf>,
}

impl Agents {
    /// In `said` when the user said so; else in the host's cache, then beside this executable.
    pub(crate) fn new(said: Option<&Path>, cache: &Path) -> Self {
        let folders = match said {
            Some(folder) => vec![folder.to_owned()],
            None => {
                let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(FOLDER)));
                [Some(cache.join(FOLDER)), beside].into_iter().flatten().collect()
            }
        };
        Self { folders }
    }

    /// The agent for an instruction set, hashed.
    ///
    /// # Errors
    /// There is none, and what to do; or it cannot be read.
    pub(crate) fn find(&self, arch: &str) -> Result<HostFile, String> {
        let name = file_name(arch);
        let Some(path) = self.folders.iter().map(|folder| folder.join(&name)).find(|path| path.is_file())
        else {
            let places: Vec<String> = self.folders.iter().map(|f| f.display().to_string()).collect();
            return Err(format!(
                "there is no agent for a device of architecture {arch}: {name} is in none of {}; \
                 run `bench agents build {arch}`, or name the folder that has it with --agent-dir",
                places.join(", ")
            ));
        };
        let file = HostFile::from_path(&path).map_err(|e| format!("the agent {}: {e}", path.display()))?;
        Ok(HostFile { executable: true, ..file })
    }
}

/// Name of the executable for an instruction set.
pub(crate) fn file_name(arch: &str) -> String {
    format!("bench-agent-{arch}")
}
