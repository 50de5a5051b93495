//! Every format over invented runs: the ordinary one, hostile ones, empty ones and large ones.

use super::*;
use crate::testing::Recipe;
use crate::verdict::verdicts;

#[test]
fn look() {
    let Ok(dir) = std::env::var("BENCH_LOOK") else { return };
    let run = Recipe::vision().run();
    let dir = run.write(std::path::Path::new(&dir));
    println!("{:?}", crate::write_all(&dir).unwrap().paths);
    let record = run.record();
    let verdicts = verdicts(&record);
    for width in [120, 60] {
        let options = Options { width, color: true };
        let text = render(format("terminal").unwrap(), &record, &verdicts, &options).unwrap();
        println!("{}", String::from_utf8(text).unwrap());
    }
}
