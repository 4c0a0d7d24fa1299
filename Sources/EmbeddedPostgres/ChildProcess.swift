import CEpoll
import Glibc
import IO

/// A program started by this one, which dies with it.
///
/// The kernel signals a child when the *thread* that started it ends, so each child has a thread that starts it and then waits
/// for its end.
package final class ChildProcess: Sendable {
    private enum State {
        case running(pid_t)
        case ended(Int32)
    }

    private let state: Locked<State>
    /// Readable, and never read, once the child has ended.
    private let endOfLife: Int32

    private init(_ pid: pid_t, endOfLife: Int32) {
        state = Locked(.running(pid))
        self.endOfLife = endOfLife
    }

    deinit {
        close(endOfLife)
    }

    /// Starts a program; what it prints is appended to the log.
    package static func start(_ arguments: [String], log: String) async throws(EmbeddedPostgresError) -> ChildProcess {
        // Handed over under a lock: that the continuation orders the two threads too is not always seen by the sanitizer.
        let result = Locked<Result<ChildProcess, EmbeddedPostgresError>?>(nil)
        await withCheckedContinuation { continuation in
            startThread {
                let endOfLife = eventfd(0, Int32(EFD_CLOEXEC))
                do throws(EmbeddedPostgresError) {
                    let pid = try spawn(arguments, log: log)
                    let child = ChildProcess(pid, endOfLife: endOfLife)
                    result.withLock { $0 = .success(child) }
                    continuation.resume()
                    child.reap(pid)
                } catch {
                    close(endOfLife)
                    result.withLock { $0 = .failure(error) }
                    continuation.resume()
                }
            }
        }
        guard let result = result.withLock({ $0 }) else { preconditionFailure("the thread leaves a result") }
        return try result.get()
    }

    /// Runs a program to its end and returns its exit code.
    package static func run(_ arguments: [String], log: String) async throws(EmbeddedPostgresError) -> Int32 {
        let child = try await start(arguments, log: log)
        await Reactor.shared.readable(child.endOfLife)
        return child.exitCode ?? -1
    }

    /// The exit code, or 128 and the number of the signal that ended it; nil while it runs.
    package var exitCode: Int32? {
        state.withLock { state in
            guard case .ended(let code) = state else { return nil }
            return code
        }
    }

    /// Sends a signal, unless the child has ended: its number may belong to another process by then.
    package func send(_ signal: Int32) {
        state.withLock { state in
            if case .running(let pid) = state { kill(pid, signal) }
        }
    }

    /// Waits for the end; says whether it came in time.
    package func ended(within time: Duration) async -> Bool {
        await Reactor.shared.wait(for: .read, of: endOfLife, until: .now + time) != .timedOut
    }

    /// Waits for the end without the reactor, for the last moments of this program.
    func waitBlocking(milliseconds: Int32) {
        var question = pollfd(fd: endOfLife, events: Int16(POLLIN), revents: 0)
        poll(&question, 1, milliseconds)
    }

    private func reap(_ pid: pid_t) {
        // Looks without reaping first, so that the number stays taken until `send` can see that it is no longer ours.
        var information = siginfo_t()
        while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) == -1, errno == EINTR {}
        state.withLock { state in
            var status: Int32 = 0
            while waitpid(pid, &status, 0) == -1, errno == EINTR {}
            let signal = status & 0x7f
            state = .ended(signal == 0 ? (status >> 8) & 0xff : 128 + signal)
        }
        var one: UInt64 = 1
        _ = write(endOfLife, &one, MemoryLayout<UInt64>.size)
    }

    private static func spawn(_ arguments: [String], log: String) throws(EmbeddedPostgresError) -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        // Descriptors of ours that lack close-on-exec would keep sockets and locks alive in the child.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        posix_spawn_file_actions_addchdir_np(&actions, "/")

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A session of its own: Ctrl-C in the terminal is for this program, which then ends the child in its own time.
        // And no blocked signals: the thread that spawns has them all blocked.
        var everySignal = sigset_t()
        sigfillset(&everySignal)
        var noSignal = sigset_t()
        sigemptyset(&noSignal)
        posix_spawnattr_setsigdefault(&attributes, &everySignal)
        posix_spawnattr_setsigmask(&attributes, &noSignal)
        let flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | 0x80 /* POSIX_SPAWN_SETSID, a GNU extension */
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let environment = ["PATH=/usr/bin:/bin:/usr/local/bin", "LC_ALL=C.UTF-8", "TZ=UTC", "HOME=/"]
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        defer { for string in argv + envp { free(string) } }
        var pid = pid_t()
        let status = posix_spawnp(&pid, arguments[0], &actions, &attributes, argv, envp)
        guard status == 0 else {
            throw EmbeddedPostgresError(
                .failed, "\(arguments[0]) cannot be started: \(String(cString: strerror(status)))")
        }
        return pid
    }
}
