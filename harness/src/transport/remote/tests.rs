//! The scripts, run by this machine's own shell: what is quoted arrives as it was, files get their name only
//! when they are right, programs can be killed, and whatever a device answers, nothing breaks.

use super::*;
