import CCurl
import IO

/// The thread that does all transfers of one client.
///
/// libcurl's handles belong to one thread. Whoever wants something from them leaves a note in the inbox and wakes the
/// thread: `curl_multi_wakeup` is the one function of a multi handle that any thread may call.
///
/// `@unchecked Sendable`: the inbox has a lock, all other mutable state belongs to the thread.
final class TransferLoop: @unchecked Sendable {
    enum Note {
        case begin(Transfer, CheckedContinuation<Transfer.Outcome, Never>)
        case cancel(Transfer)
    }

    private struct Inbox {
        var notes: [Note] = []
        var isStopping = false
        /// Null once the thread has let go of it, so that nobody wakes what is gone.
        var multi: UnsafeMutableRawPointer?
    }

    private let inbox: Locked<Inbox>
    private let options: TransferOptions
    private let connectionsPerHost: Int

    private var lines: [Origin: Line] = [:]
    private var running: [ObjectIdentifier: Transfer] = [:]
    private var idleHandles: [EasyHandle] = []

    /// Handles kept for reuse; making one costs more than keeping it, but a burst is not kept for ever.
    private static let maximumIdleHandles = 32

    private static let isCurlReady: Bool = curl_global_init(ccurl_global_default) == CURLE_OK

    init(connectionsPerHost: Int, options: TransferOptions) {
        self.connectionsPerHost = connectionsPerHost
        self.options = options
        let multi = Self.isCurlReady ? curl_multi_init() : nil
        if let multi { _ = ccurl_multi_set_long(multi, CURLMOPT_MAX_HOST_CONNECTIONS, connectionsPerHost) }
        inbox = Locked(Inbox(multi: multi))
    }

    /// Starts the thread, which blocks every signal: a write to a connection that is gone must be an error, not SIGPIPE.
    func start() {
        startThread { self.run() }
    }

    /// Leaves a note for the thread.
    func post(_ note: Note) {
        let isOpen = inbox.withLock { inbox in
            guard let multi = inbox.multi, !inbox.isStopping else { return false }
            inbox.notes.append(note)
            curl_multi_wakeup(multi)
            return true
        }
        if !isOpen, case .begin(let transfer, let continuation) = note {
            continuation.resume(returning: transfer.abandoned(.shutDown, "The client has been shut down."))
        }
    }

    /// Asks the thread to end.
    func stop() {
        inbox.withLock { inbox in
            inbox.isStopping = true
            if let multi = inbox.multi { curl_multi_wakeup(multi) }
        }
    }

    private func run() {
        guard let multi = inbox.withLock({ $0.multi }) else { return }
        while true {
            let (notes, isStopping) = inbox.withLock { inbox in
                defer { inbox.notes = [] }
                return (inbox.notes, inbox.isStopping)
            }
            for note in notes { handle(note, multi) }
            if isStopping { break }
            var count: Int32 = 0
            curl_multi_perform(multi, &count)
            let finished = collect(multi)
            // A finished transfer makes room for the next one, which should not wait for a packet to be noticed.
            if finished == 0 { curl_multi_poll(multi, nil, 0, 60_000, nil) }
        }
        finish(multi)
    }

    private func handle(_ note: Note, _ multi: UnsafeMutableRawPointer) {
        switch note {
        case .begin(let transfer, let continuation):
            transfer.continuation = continuation
            // The task can be cancelled between making the transfer and posting it: then this note is the later one.
            guard !transfer.isCancelled else { return answer(transfer, transfer.abandoned(.cancelled, "Cancelled.")) }
            lines[transfer.origin, default: Line()].waiting.append(transfer)
            advance(transfer.origin, multi)
        case .cancel(let transfer):
            transfer.isCancelled = true
            guard transfer.continuation != nil else { return }
            abandon(transfer, .cancelled, "Cancelled.", multi)
            advance(transfer.origin, multi)
        }
    }

    /// Starts waiting transfers while their host has room.
    ///
    /// libcurl could queue them as well, but its clock for the connection runs while they wait.
    private func advance(_ origin: Origin, _ multi: UnsafeMutableRawPointer) {
        while let line = lines[origin], line.active < connectionsPerHost, !line.waiting.isEmpty {
            let transfer = lines[origin, default: Line()].waiting.removeFirst()
            do throws(HTTPError) {
                try begin(transfer, multi)
                lines[origin, default: Line()].active += 1
            } catch {
                answer(transfer, .failure(error))
            }
        }
        if let line = lines[origin], line.active == 0, line.waiting.isEmpty { lines[origin] = nil }
    }

    private func begin(_ transfer: Transfer, _ multi: UnsafeMutableRawPointer) throws(HTTPError) {
        guard let handle = idleHandles.popLast() ?? EasyHandle() else {
            throw HTTPError(.other, "libcurl has no memory for another call.")
        }
        try handle.prepare(transfer, options)
        let code = curl_multi_add_handle(multi, handle.pointer)
        guard code == CURLM_OK else {
            handle.release()
            throw HTTPError(.other, String(cString: curl_multi_strerror(code)))
        }
        transfer.handle = handle
        running[ObjectIdentifier(transfer)] = transfer
    }

    /// Answers what libcurl is done with, and returns how many that were.
    private func collect(_ multi: UnsafeMutableRawPointer) -> Int {
        var finished = 0
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let pointer = message.pointee.easy_handle else { continue }
            // Read before the handle is taken away, which frees the message.
            let result = ccurl_message_result(message)
            var context: UnsafeMutableRawPointer?
            guard ccurl_get_pointer(pointer, CURLINFO_PRIVATE, &context) == CURLE_OK, let context else { continue }
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            guard let handle = transfer.handle else { continue }
            let outcome = transfer.outcome(result, handle)
            retire(transfer, handle, multi)
            answer(transfer, outcome)
            advance(transfer.origin, multi)
            finished += 1
        }
        return finished
    }

    /// Ends a transfer from our side, wherever it stands.
    private func abandon(
        _ transfer: Transfer, _ code: HTTPError.Code, _ message: String, _ multi: UnsafeMutableRawPointer
    ) {
        let outcome = transfer.abandoned(code, message)
        if let handle = transfer.handle {
            retire(transfer, handle, multi)
        } else {
            lines[transfer.origin]?.waiting.removeAll { $0 === transfer }
        }
        answer(transfer, outcome)
    }

    private func retire(_ transfer: Transfer, _ handle: EasyHandle, _ multi: UnsafeMutableRawPointer) {
        curl_multi_remove_handle(multi, handle.pointer)
        transfer.handle = nil
        running[ObjectIdentifier(transfer)] = nil
        lines[transfer.origin]?.active -= 1
        handle.release()
        if idleHandles.count < Self.maximumIdleHandles { idleHandles.append(handle) }
    }

    private func answer(_ transfer: Transfer, _ outcome: Transfer.Outcome) {
        transfer.continuation?.resume(returning: outcome)
        transfer.continuation = nil
    }

    private func finish(_ multi: UnsafeMutableRawPointer) {
        let waiting = lines.values.flatMap(\.waiting)
        for transfer in Array(running.values) + waiting {
            abandon(transfer, .shutDown, "The client has been shut down.", multi)
        }
        lines = [:]
        idleHandles = []
        close()
    }

    /// Lets go of the multi handle, after which every call fails with a clear error.
    private func close() {
        let multi = inbox.withLock { inbox in
            defer { inbox.multi = nil }
            return inbox.multi
        }
        if let multi { curl_multi_cleanup(multi) }
    }
}

/// The calls to one host: how many are under way, and who waits.
private struct Line {
    var active = 0
    var waiting: [Transfer] = []
}
