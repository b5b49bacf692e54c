//! Address spaces of a recording: which file an address of a process lay in at a moment.

use super::perf_data_record::{Mmap, Mode};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// Mappings per process: the kernel's own default limit (`vm.max_map_count`).
const MAX_MAPS: usize = 65_530;
/// Mappings copied on forks, of all processes together. Far beyond any recording; it keeps a hostile file from forking for hours.
const MAX_COPIES: usize = 50_000_000;

/// What a module's addresses mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file: addresses are offsets in it.
    File,
    /// The kernel or a module of it: addresses are as they were in memory.
    Kernel,
    /// Memory without a file, where just-in-time compilers put their code: addresses are as they were in memory.
    Anonymous,
    /// A guest or a hypervisor: addresses are as they were in memory.
    Guest,
}

/// A file that was mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its path, or the name that perf gives it: `[kernel.kallsyms]`, `[vdso]`, `/tmp/perf-PID.map`.
    pub file: String,
    /// Build id in hex; empty if unknown.
    pub build_id: String,
    /// What its addresses mean.
    pub kind: Kind,
    /// Address of the kernel's first symbol; 0 otherwise.
    pub base: u64,
}

#[derive(Clone, Debug)]
struct Map {
    end: u64,
    offset: u64,
    module: u32,
}

/// One process, or the kernel.
#[derive(Clone, Debug, Default)]
pub struct Space {
    maps: Rc<BTreeMap<u64, Map>>,
    /// Grows with every change.
    pub version: u32,
}

impl Space {
    /// Module and address in it.
    fn find(&self, address: u64) -> Option<(u32, u64)> {
        let (start, map) = self.maps.range(..=address).next_back()?;
        (address < map.end).then(|| (map.module, map.offset.wrapping_add(address - start)))
    }

    fn clear(&mut self) {
        self.maps = Rc::default();
        self.version += 1;
    }

    /// Puts a mapping over what was there; `false` when the process has too many.
    fn insert(&mut self, start: u64, map: Map) -> bool {
        if self.maps.len() >= MAX_MAPS || start >= map.end {
            return false;
        }
        self.version += 1;
        let maps = Rc::make_mut(&mut self.maps);
        if let Some((&from, below)) = maps.range_mut(..start).next_back()
            && below.end > start
        {
            let (end, offset, module) = (below.end, below.offset, below.module);
            below.end = start;
            if end > map.end {
                maps.insert(map.end, Map { end, offset: offset.wrapping_add(map.end - from), module });
            }
        }
        while let Some((&from, inner)) = maps.range(start..map.end).next() {
            let (end, offset, module) = (inner.end, inner.offset, inner.module);
            maps.remove(&from);
            if end > map.end {
                maps.insert(map.end, Map { end, offset: offset.wrapping_add(map.end - from), module });
            }
        }
        maps.insert(start, map);
        true
    }
}

/// The row of the kernel in [`Processes`].
pub const KERNEL: u32 = 0;

/// All processes, their threads' names and the modules.
pub struct Processes {
    spaces: Vec<Space>,
    rows: HashMap<i32, u32>,
    names: HashMap<i32, Rc<str>>,
    /// Modules in order of appearance.
    pub modules: Vec<Module>,
    module_rows: HashMap<(String, String), u32>,
    copies: usize,
    kernel_base: u64,
    /// Mappings that were left aside because a process had too many.
    pub refused: u64,
}

impl Default for Processes {
    fn default() -> Processes {
        Processes {
            spaces: vec![Space::default()],
            rows: HashMap::new(),
            // Thread 0 is the idle thread of every CPU; no record introduces it.
            names: HashMap::from([(0, Rc::from("swapper"))]),
            modules: Vec::new(),
            module_rows: HashMap::new(),
            copies: 0,
            kernel_base: 0,
            refused: 0,
        }
    }
}

impl Processes {
    /// Address of the kernel's first symbol; 0 if no record tells it.
    pub fn kernel_base(&self) -> u64 {
        self.kernel_base
    }

    /// The row of a process.
    pub fn space(&mut self, pid: i32) -> u32 {
        let spaces = &mut self.spaces;
        *self.rows.entry(pid).or_insert_with(|| {
            spaces.push(Space::default());
            spaces.len() as u32 - 1
        })
    }

    /// Grows whenever an address of this process or of the kernel may have got another meaning.
    pub fn version(&self, space: u32) -> u32 {
        let kernel = self.spaces[KERNEL as usize].version;
        if space == KERNEL { kernel } else { kernel + self.spaces[space as usize].version }
    }

    /// The mappings of a process in order of address: first address, address behind the last, offset, module.
    pub fn maps(&self, space: u32) -> impl Iterator<Item = (u64, u64, u64, u32)> + '_ {
        let maps = self.spaces.get(space as usize).map(|s| &*s.maps);
        maps.into_iter().flatten().map(|(start, map)| (*start, map.end, map.offset, map.module))
    }

    /// A name for a thread.
    pub fn comm(&mut self, pid: i32, tid: i32, name: &str, exec: bool) {
        self.names.insert(tid, Rc::from(name));
        if exec {
            let space = self.space(pid) as usize;
            self.spaces[space].clear();
        }
    }

    /// The name of a thread as perf writes it: `:TID` for one that no record named.
    pub fn name(&mut self, tid: i32) -> Rc<str> {
        self.names.entry(tid).or_insert_with(|| Rc::from(format!(":{tid}").as_str())).clone()
    }

    /// A new thread or process, which begins with its parent's name and, as a process, with its mappings.
    pub fn fork(&mut self, pid: i32, parent: i32, tid: i32, parent_tid: i32) {
        if let Some(name) = self.names.get(&parent_tid).cloned() {
            self.names.insert(tid, name);
        }
        if pid == parent {
            return;
        }
        let (from, to) = (self.space(parent) as usize, self.space(pid) as usize);
        let maps = self.spaces[from].maps.clone();
        self.copies = self.copies.saturating_add(maps.len());
        if self.copies <= MAX_COPIES {
            self.spaces[to].maps = maps;
            self.spaces[to].version += 1;
        } else {
            self.refused += 1;
        }
    }

    /// A mapping.
    pub fn mmap(&mut self, mmap: &Mmap) {
        let guest = matches!(mmap.mode, Mode::GuestKernel | Mode::GuestUser);
        let kernel = !guest && (mmap.mode == Mode::Kernel || mmap.pid == -1);
        if guest {
            return;
        }
        // The kernel's own mapping is named after the symbol that tells its address: `[kernel.kallsyms]_text`.
        let (file, symbol) = match mmap.file.find(']') {
            Some(at) if kernel && mmap.file.starts_with("[kernel") => mmap.file.split_at(at + 1),
            _ => (mmap.file.as_str(), ""),
        };
        if !symbol.is_empty() {
            self.kernel_base = mmap.offset;
        }
        let anonymous = !kernel && is_anonymous(file);
        let module = if anonymous {
            self.module(&format!("/tmp/perf-{}.map", mmap.pid), "", Kind::Anonymous)
        } else {
            self.module(file, &mmap.build_id, if kernel { Kind::Kernel } else { Kind::File })
        };
        let absolute = kernel || anonymous;
        // Old kernels give the whole kernel without a length.
        let end = if kernel && mmap.len == 0 { u64::MAX } else { mmap.start.saturating_add(mmap.len) };
        let map = Map { end, offset: if absolute { mmap.start } else { mmap.offset }, module };
        let space = if kernel { KERNEL } else { self.space(mmap.pid) };
        if mmap.start < end && !self.spaces[space as usize].insert(mmap.start, map) {
            self.refused += 1;
        }
    }

    fn module(&mut self, file: &str, build_id: &str, kind: Kind) -> u32 {
        let key = (file.to_string(), build_id.to_string());
        if let Some(row) = self.module_rows.get(&key) {
            return *row;
        }
        let base = if kind == Kind::Kernel && file.starts_with("[kernel") { self.kernel_base } else { 0 };
        self.modules.push(Module { file: file.to_string(), build_id: build_id.to_string(), kind, base });
        let row = self.modules.len() as u32 - 1;
        self.module_rows.insert(key, row);
        row
    }

    /// Module and address in it; `None` when nothing is known to lie there.
    pub fn locate(&mut self, space: u32, address: u64, mode: Mode) -> Option<(u32, u64)> {
        let mode = if mode == Mode::Unknown { Mode::of_address(address) } else { mode };
        match mode {
            Mode::GuestKernel => return Some((self.module("[guest.kernel.kallsyms]", "", Kind::Guest), address)),
            Mode::GuestUser => return Some((self.module("[guest]", "", Kind::Guest), address)),
            Mode::Hypervisor => return Some((self.module("[hypervisor]", "", Kind::Guest), address)),
            Mode::Kernel | Mode::User | Mode::Unknown => {}
        }
        let found = if mode == Mode::Kernel { KERNEL } else { space };
        if let Some(place) = self.spaces[found as usize].find(address) {
            return Some(place);
        }
        // Nothing else runs there, even if no record says where the kernel lies (kptr_restrict).
        (mode == Mode::Kernel).then(|| (self.module("[kernel.kallsyms]", "", Kind::Kernel), address))
    }
}

/// Memory that has no file, as perf's `is_anon_memory` and `is_no_dso_memory` tell it; their symbols come from a perf map.
fn is_anonymous(file: &str) -> bool {
    file.is_empty()
        || file == "//anon"
        || ["/dev/zero", "/anon_hugepage", "/memfd:", "[stack", "/SYSV", "[heap]", "[anon", "anon_inode:"]
            .iter()
            .any(|start| file.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pid: i32, start: u64, len: u64, offset: u64, file: &str) -> Mmap {
        Mmap { pid, start, len, offset, file: file.into(), mode: Mode::User, ..Mmap::default() }
    }

    #[test]
    fn a_mapping_replaces_what_it_covers() {
        let mut p = Processes::default();
        p.mmap(&map(1, 0x1000, 0x3000, 0, "/a"));
        p.mmap(&map(1, 0x2000, 0x1000, 0x500, "/b"));
        let s = p.space(1);
        let mut at = |address| p.locate(s, address, Mode::User);
        assert_eq!(
            [at(0xfff), at(0x1000), at(0x2010), at(0x3010), at(0x4000)],
            [None, Some((0, 0)), Some((1, 0x510)), Some((0, 0x2010)), None]
        );
        p.mmap(&map(1, 0x800, 0x9000, 0, "/c"));
        assert_eq!(p.locate(s, 0x3010, Mode::User), Some((2, 0x2810)));
    }

    #[test]
    fn processes_begin_as_their_parents() {
        let mut p = Processes::default();
        p.comm(1, 1, "shell", false);
        p.mmap(&map(1, 0x1000, 0x1000, 0, "/sh"));
        p.fork(2, 1, 2, 1);
        p.mmap(&map(1, 0x1000, 0x1000, 0, "/other"));
        let child = p.space(2);
        assert_eq!((&*p.name(2), p.locate(child, 0x1000, Mode::User)), ("shell", Some((0, 0))));
        p.comm(2, 2, "ls", true);
        assert_eq!((&*p.name(2), p.locate(child, 0x1000, Mode::User)), ("ls", None));
        assert_eq!((&*p.name(9), &*p.name(0)), (":9", "swapper"));
    }

    #[test]
    fn the_kernel_is_the_same_everywhere() {
        let mut p = Processes::default();
        let kernel = Mmap {
            pid: -1,
            start: 0,
            len: u64::MAX,
            offset: 0xffff_ffff_8100_0000,
            file: "[kernel.kallsyms]_text".into(),
            mode: Mode::Kernel,
            build_id: String::new(),
        };
        p.mmap(&kernel);
        let s = p.space(5);
        let at = p.locate(s, 0xffff_ffff_8100_0010, Mode::Kernel).unwrap();
        assert_eq!(
            (p.modules[at.0 as usize].file.as_str(), at.1, p.modules[0].base),
            ("[kernel.kallsyms]", 0xffff_ffff_8100_0010, 0xffff_ffff_8100_0000)
        );
        assert_eq!(p.locate(s, 0x10, Mode::User), None);
        p.mmap(&map(5, 0x7000, 0x1000, 0, "//anon"));
        let at = p.locate(s, 0x7010, Mode::User).unwrap();
        assert_eq!((p.modules[at.0 as usize].file.as_str(), at.1), ("/tmp/perf-5.map", 0x7010));
    }
}
