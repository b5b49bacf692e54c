//! Kinds of work of the system and of language runtimes (PROFILES 3).

use super::cost_rule::CostRule;
use super::cost_specs::{called, cost, is_option, thresholds, within};
use super::costs::{Frames, Measure};
use super::finding::{Rule, Threshold};

/// Samples that lock without anybody of the program waiting: collectors, compilers, workers that look for work.
const LOCKS_NOT: &[&str] = &["gc", "idle_worker", "jit"];

cost! {
    /// Threads spend CPU time waiting for, spinning on or handing over locks.
    LOCK "lock-contention" "Lock contention" "Threads spend CPU time waiting for, spinning on or handing over locks.",
    ["info-share" 0.03 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.1 "share that scores 75 (warning); PROFILES 3", "spin-info" 0.02 "lower bound of the share of active samples in spinning that scores 25 (info); PROFILES 3", "spin-warning" 0.05 "share in spinning that scores 75 (warning); PROFILES 3", "fast-info" 0.05 "lower bound of the share of active samples in locks that nobody waits for that scores 25 (info); PROFILES 3", "fast-warning" 0.15 "share in locks that nobody waits for that scores 75 (warning); PROFILES 3"],
    [Measure { name: "", what: "Contended locks", of: &["lock", "spin"], and: &["contended"], without: LOCKS_NOT, frames: Frames::Called }, called("spin", "Spinning", &["spin"], LOCKS_NOT), called("fast", "Many uncontended locks", &["lock"], &["contended", "gc", "idle_worker", "jit", "spin"])],
    (0.3, 1.0, "from shorter or fewer critical sections, at the lower bound of the share, to none of it; waiting that takes no CPU time is not in it"),
    [
        ("go", "Shard the data behind the mutex, or hold it for the lookup alone; `runtime.SetMutexProfileFraction` shows who holds it."),
        ("jvm", "Replace synchronized blocks on shared objects by concurrent collections, LongAdder or striped locks; JFR's jdk.JavaMonitorEnter shows who holds them."),
        ("cpython", "Threads wait for the interpreter lock: use processes, or release it in native code."),
        ("rust", "Shard the data, or replace the Mutex by atomics or per-thread state; do not hold a guard across work."),
        ("", "Hold locks for less time and touch them less often: copy out, batch updates, keep state per thread."),
    ],
    ["A CPU profile shows only what locks cost in CPU time: threads that sleep while they wait are in mutex, block and off-CPU profiles."]
}

cost! {
    /// Copying, clearing and comparing memory takes a large share of the CPU time.
    MEMORY_COPY "memory-copy" "Copying and comparing memory" "Copying, clearing and comparing memory takes a large share of the CPU time.",
    ["info-share" 0.05 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.15 "share that scores 75 (warning); PROFILES 3"],
    [Measure { name: "", what: "Copying and comparing memory", of: &["memops"], and: &[], without: &["gc", "jit"], frames: Frames::Leaf }],
    (0.3, 0.9, "from fewer copies, at the lower bound of the share, to none"),
    [
        ("go", "Pass pointers or slices of large values, reserve capacity, avoid string([]byte) and []byte(string) conversions."),
        ("jvm", "Reuse arrays, size collections, use ByteBuffer slices instead of copies."),
        ("cpp", "Move instead of copying, reserve, pass by reference, use string_view and span."),
        ("rust", "Borrow or use bytes::Bytes; look for clone() and large values moved by value."),
        ("", "Copy less: reserve sizes, reuse buffers, pass views."),
    ],
    []
}

cost! {
    /// System calls for files and networks, or the kernel as a whole, take a large share of the CPU time.
    SYSCALLS "syscall-cost" "System calls and kernel" "System calls for files and networks, or the kernel as a whole, take a large share of the CPU time.",
    ["info-share" 0.15 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.35 "share that scores 75 (warning); PROFILES 3", "kernel-info" 0.2 "lower bound of the share of active samples in the kernel that scores 25 (info); PROFILES 3", "kernel-warning" 0.4 "share in the kernel that scores 75 (warning); PROFILES 3"],
    [called("", "System calls", &["syscall", "syscall_io", "syscall_net"], &["idle_worker", "gc", "jit"]), called("kernel", "Kernel", &["kernel"], &["jit"])],
    (0.2, 0.8, "from larger buffers and batches, at the lower bound of the share, to data that is kept"),
    [
        ("go", "Wrap files and connections in bufio; write answers in one piece."),
        ("jvm", "Use buffered streams and channels with larger buffers; look for unbuffered read() of single bytes."),
        ("node", "Use streams with a larger highWaterMark; avoid many small writes."),
        ("", "Read and write in larger pieces, batch (writev, sendmmsg, io_uring), cache what is read again, keep connections."),
    ],
    ["What a system call waits for is not in a CPU profile."]
}

cost! {
    /// Forcing data to disk (fsync) takes CPU time.
    FSYNC "fsync-cost" "Forcing data to disk" "Forcing data to disk (fsync) takes CPU time.",
    ["info-share" 0.03 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.1 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Forcing data to disk", &["fs_sync"], &["jit"])],
    (0.5, 0.95, "one sync for many writes: from half, at the lower bound of the share, to nearly all"),
    [
        ("", "Commit in groups: one fsync for many records; use fdatasync; check that durability is needed for this file."),
    ],
    ["The waiting of fsync is many times its CPU time: look at traces or off-CPU profiles."]
}

cost! {
    /// Node.js reads, writes or starts processes synchronously, so that the event loop stands still.
    SYNC_IO "sync-io" "Synchronous input and output on the event loop" "Node.js reads, writes or starts processes synchronously, so that the event loop stands still.",
    ["info-share" 0.02 "lower bound of the share of active samples that scores 25 (info); own: the whole process stands still meanwhile", "warning-share" 0.1 "share that scores 75 (warning); own: the whole process stands still meanwhile", "min-run-ms" 16.0 "milliseconds of one uninterrupted run that are reported whatever the share: one frame at 60 Hz; Sentry vroom reports any, PROFILES 3 from 16 ms"],
    [called("", "Synchronous input and output", &["sync_io"], &["module_init", "classload"])],
    (0.5, 1.0, "from half, at the lower bound of the share, to all of it moved off the event loop"),
    [
        ("node", "Use fs.promises, streams and the asynchronous forms of zlib, crypto and child_process."),
        ("", "Move blocking calls off the thread that serves requests."),
    ],
    [], runs
}

cost! {
    /// Page faults, or changes of mappings that flush the TLB, take CPU time.
    PAGE_FAULTS "page-faults" "Page faults and address space changes" "Page faults, or changes of mappings that flush the TLB, take CPU time.",
    ["info-share" 0.03 "lower bound of the share of active samples that scores 25 (info); PROFILES 3; first touch of memory measured 15 % under ZGC", "warning-share" 0.1 "share that scores 75 (warning); PROFILES 3; first touch of memory measured 15 % under ZGC"],
    [called("", "Page faults and mappings", &["pagefault", "tlb"], &["gc", "jit"])],
    (0.3, 0.9, "from reused memory, at the lower bound of the share, to huge pages or memory touched ahead"),
    [
        ("go", "Reuse large buffers; raise GOGC or set GOMEMLIMIT so that memory is not returned and faulted in again."),
        ("jvm", "-XX:+AlwaysPreTouch and transparent huge pages; equal -Xms and -Xmx."),
        ("cpp", "Keep memory in the allocator (M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, jemalloc's decay) instead of mapping and unmapping."),
        ("", "Reuse memory, use huge pages, map files once; many threads that unmap flush each other's TLB."),
    ],
    ["The first touch of memory at start-up inflates it: record steady work."]
}

cost! {
    /// Just-in-time compilation, class loading, imports or dynamic linking take a large share of the CPU time.
    WARM_UP "warm-up" "Compiling and loading code" "Just-in-time compilation, class loading, imports or dynamic linking take a large share of the CPU time.",
    ["info-share" 0.1 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.25 "share that scores 75 (warning); PROFILES 3", "loading-info" 0.1 "lower bound of the share of active samples in loading that scores 25 (info); PROFILES 3", "loading-warning" 0.25 "share in loading that scores 75 (warning); PROFILES 3"],
    [within("", "Just-in-time compilation", &["jit"], &[]), called("loading", "Loading of classes, modules and libraries", &["classload"], &["jit"])],
    (0.0, 0.9, "from nothing, if the program runs long, to nine tenths with code that is compiled or archived ahead"),
    [
        ("jvm", "Profile longer, or after warm-up; class data sharing (AppCDS) and fewer classes shorten start-up."),
        ("cpython", "Import lazily; `python -X importtime` shows what takes long."),
        ("node", "Bundle, use a snapshot or the compile cache (module.enableCompileCache)."),
        ("dotnet", "ReadyToRun or NativeAOT; tiered compilation."),
        ("", "Record for longer and after the start; prelink or link statically where start-up matters."),
    ],
    ["It says more about the length of the recording than about the program."], info_only
}

cost! {
    /// Switching between threads, goroutines or tasks takes a large share of the CPU time.
    SCHEDULER "scheduler-cost" "Scheduling" "Switching between threads, goroutines or tasks takes a large share of the CPU time.",
    ["info-share" 0.1 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.25 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Scheduling", &["scheduler"], &["gc", "jit"])],
    (0.2, 0.8, "from fewer and larger tasks, at the lower bound of the share, to work done in place"),
    [
        ("go", "Send batches over channels, use fewer goroutines for small work; raise the work per wake-up. Idle processors that look for work count too: lower GOMAXPROCS in small containers."),
        ("rust", "Spawn fewer and larger tasks; do not spawn per item."),
        ("jvm", "Larger tasks in pools; batch hand-overs."),
        ("", "Hand over more work at a time; avoid ping-pong between threads."),
    ],
    ["Go's search for runnable goroutines is part of it: on a machine that is mostly idle it costs nothing that matters."]
}

cost! {
    /// Goroutine stacks are grown and copied.
    STACK_GROWTH "stack-growth" "Growing stacks" "Goroutine stacks are grown and copied.",
    ["info-share" 0.02 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.05 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Growing goroutine stacks", &["stackgrow"], &["gc"])],
    (0.5, 1.0, "from half, at the lower bound of the share, to none with long-lived goroutines"),
    [
        ("go", "Keep workers instead of starting a goroutine per item: new stacks start small and are copied as they grow. Avoid large arrays on the stack and deep recursion."),
        ("", "Reuse goroutines; make frames smaller."),
    ],
    []
}

cost! {
    /// Reading the clock takes CPU time.
    CLOCK "clock-reads" "Reading the clock" "Reading the clock takes CPU time.",
    ["info-share" 0.02 "lower bound of the share of active samples that scores 25 (info); PROFILES 3", "warning-share" 0.05 "share that scores 75 (warning); PROFILES 3"],
    [called("", "Reading the clock", &["clock"], &["gc", "jit", "idle_worker"])],
    (0.5, 1.0, "from half, at the lower bound of the share, to one reading per batch"),
    [
        ("go", "Take time.Now once per batch and pass it on."),
        ("jvm", "Read System.nanoTime once per batch; check that the clock source is tsc."),
        ("", "Read the clock once and pass the time on; check that the clock source is tsc (/sys/devices/system/clocksource): others go through the kernel."),
    ],
    []
}

cost! {
    /// Most samples are in an interpreter's loop, so that this profile does not show whose they are.
    INTERPRETER "interpreter-overhead" "Interpreter" "Most samples are in an interpreter's loop, so that this profile does not show whose they are.",
    ["info-share" 0.2 "lower bound of the share of active samples that scores 25 (info); own; PROFILES 1.8 asks for one note", "warning-share" 0.5 "share that scores 75 (warning); own; PROFILES 1.8 asks for one note"],
    [Measure { name: "", what: "Interpreter loop", of: &["interpreter"], and: &[], without: &["jit"], frames: Frames::Leaf }],
    (0.0, 0.9, "from nothing to nine tenths with compiled code for the hot part"),
    [
        ("cpython", "Record with py-spy or `perf` with `-X perf` to see Python functions; move hot loops to numpy, Cython or native code."),
        ("jvm", "The JVM interprets cold code: record after warm-up, and check that compilation is not switched off."),
        ("ruby", "Record with stackprof or vernier; enable YJIT."),
        ("", "Use a profiler of the language: this one sees the interpreter only."),
    ],
    [], info_only
}
