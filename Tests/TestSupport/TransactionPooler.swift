import Dispatch
import Glibc
import IO
import Postgres

/// A pooler in transaction mode: as strict as PgBouncer, and it tells what clients left in the sessions it lent them.
///
/// A thread a client: it lends a session with the client's first message, and takes it back when the server is ready outside
/// of a transaction. Like PgBouncer it refuses settings in the start-up message, and passes cancel requests on.
final class TransactionPooler: Sendable {
    private struct State {
        var free: ArraySlice<PooledSession> = []
        /// Which session each client has; nil for one that has none at the moment.
        var clients: [Int32: PooledSession?] = [:]
        var sockets: Set<Int32> = []
        var lastClient: Int32 = 0
        var isStopped = false
    }

    private let state: Locked<State>
    private let places = DispatchSemaphore(value: 0)
    private let server: ConnectionSettings
    private let listener: Int32

    init(to server: ConnectionSettings, in folder: String, sessions: Int) throws {
        self.server = server
        let free = try (0..<sessions).map { _ in try PooledSession(server) }
        state = Locked(State(free: free[...]))
        for _ in free { places.signal() }
        listener = try UnixSocket.listen(at: folder + "/.s.PGSQL.6432")
        startThread { [self] in
            while true {
                let client = accept(listener, nil, nil)
                guard client >= 0 else { return }
                let isWelcome = state.withLock { $0.isStopped ? false : $0.sockets.insert(client).inserted }
                guard isWelcome else {
                    close(client)
                    continue
                }
                startThread { [self] in
                    let stream = MessageStream(client)
                    try? serve(stream)
                    state.withLock { _ = $0.sockets.remove(client) }
                    close(client)
                }
            }
        }
    }

    /// Hangs up.
    func stop() {
        state.withLock { state in
            state.isStopped = true
            for socket in state.sockets { shutdown(socket, Int32(SHUT_RDWR)) }
        }
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// What the transactions so far have left in the sessions: names, settings, locks.
    func leftovers() throws -> [String] {
        try state.withLock { $0.free }.flatMap { session in
            try session.rows(
                """
                select 'prepared: ' || name from pg_prepared_statements
                union all select 'listens: ' || channel from pg_listening_channels() as channel
                union all select 'advisory lock' from pg_locks where pid = pg_backend_pid() and locktype = 'advisory'
                union all select 'setting: ' || name from pg_settings where source = 'session'
                union all select 'table: ' || relname from pg_class where relnamespace = pg_my_temp_schema()
                """)
        }
    }

    private func serve(_ client: MessageStream) throws {
        guard let number = try welcome(client) else { return }
        defer { state.withLock { $0.clients[number] = .some(nil) } }
        while let first = try client.next(), first.type != "X" {
            places.wait()
            let lent: PooledSession? = state.withLock { state in
                guard let session = state.free.popFirst() else { return nil }
                state.clients[number] = session
                return session
            }
            guard let session = lent else { return }
            let isWhole = (try? relay(first, client, session)) != nil
            // Whoever breaks off in the middle of a transaction has his session ended, as PgBouncer does.
            let returned = isWhole ? session : try PooledSession(server)
            state.withLock { state in
                state.clients[number] = .some(nil)
                state.free.append(returned)
            }
            places.signal()
            guard isWhole else { return }
        }
    }

    /// One transaction, from its first message to the server's being ready.
    private func relay(_ first: Message, _ client: MessageStream, _ session: PooledSession) throws {
        var owed = 0
        func pass(_ message: Message) throws {
            if ["Q", "S", "F"].contains(message.type) { owed += 1 }
            try session.stream.send(message)
        }
        try pass(first)
        while true {
            var questions = [client.socket, session.stream.socket].map {
                pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
            }
            while poll(&questions, 2, -1) == -1, errno == EINTR {}
            if questions[0].revents != 0 {
                guard let message = try client.next(), message.type != "X" else { throw Gone() }
                try pass(message)
            }
            guard questions[1].revents != 0 else { continue }
            guard let answer = try session.stream.next() else { throw Gone() }
            try client.send(answer)
            guard answer.type == "Z" else { continue }
            owed -= 1
            if owed == 0, answer.body == [UInt8(ascii: "I")] { return }
        }
    }

    /// Answers the first message; the client's number, or nil when there is nothing more to do.
    private func welcome(_ client: MessageStream) throws -> Int32? {
        while let start = try client.start() {
            switch start.code {
            case 80_877_103, 80_877_104: try client.send([UInt8(ascii: "N")])
            case 80_877_102:
                let held: PooledSession?? = state.withLock { $0.clients[start.numbers(0)] }
                if let session = held ?? nil { try session.cancel() }
                return nil
            default:
                let known = ["user", "database", "application_name", "client_encoding", "datestyle", "timezone"]
                if let other = start.names.first(where: { !known.contains($0.lowercased()) }) {
                    let text = "SFATAL\0C08P01\0Munsupported startup parameter: \(other)\0\0"
                    try client.send(Message(type: "E", body: Array(text.utf8)))
                    return nil
                }
                let (number, greeting) = state.withLock { state in
                    state.lastClient += 1
                    state.clients[state.lastClient] = .some(nil)
                    return (state.lastClient, state.free.first?.greeting ?? [])
                }
                try client.send(Message(type: "R", body: [0, 0, 0, 0]))
                for message in greeting { try client.send(message) }
                try client.send(Message(type: "K", body: number.bytes + number.bytes))
                try client.send(Message(type: "Z", body: [UInt8(ascii: "I")]))
                return number
            }
        }
        return nil
    }
}

/// A client or a server that hung up.
private struct Gone: Error {}
