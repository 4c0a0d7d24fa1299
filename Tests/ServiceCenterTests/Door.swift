import Connector
import FoundationEssentials
import HTTPClient
import IO
import JobQueue
import Logging
import Postgres
import ServiceCenter
import TestSupport
import Testing

/// A running service center on the test's database, and a client that knocks at its doors.
struct Door: Sendable {
    let http: HTTPClient
    let base: String
    let log: CapturedLog

    /// Sends a request and returns the answer.
    func send(
        _ method: String, _ path: String, token: String? = nil, type: String = "application/json",
        headers more: [(String, String)] = [], body: String? = nil
    ) async throws -> HTTPResponse {
        var headers = [("content-type", type)] + more
        if let token { headers.append(("authorization", "Bearer \(token)")) }
        let answer = try await http.send(
            HTTPRequest(method: method, url: base + path, headers: headers, body: body.map { Array($0.utf8) }))
        expectForm(of: answer, to: "\(method) \(path)")
        return answer
    }

    /// Whatever is asked, names are in snake_case and moments in UTC with milliseconds.
    private func expectForm(of answer: HTTPResponse, to request: String) {
        guard answer.header("content-type") == "application/json" else { return }
        let names = answer.text.matches(of: /"\w*[a-z][A-Z]\w*" ?:/).map { String($0.0) }
        let moments = answer.text.matches(of: /: ?"\d{4}-\d\d-\d\d[T ]([^"]*)"/).map { String($0.1) }
        #expect(names.isEmpty, "\(request)")
        #expect(moments.allSatisfy { $0.wholeMatch(of: /\d\d:\d\d:\d\d\.\d{3}Z/) != nil }, "\(request): \(moments)")
    }

    /// Posts a form to the webhook of an instance.
    func deliver(_ form: String, instance: Int64, secret: String) async throws -> HTTPResponse {
        try await send(
            "POST", "/webhooks/mailchimp/\(instance)/\(secret)", type: "application/x-www-form-urlencoded", body: form)
    }
}

extension HTTPResponse {
    /// The body as text.
    var text: String { String(decoding: body, as: UTF8.self) }

    /// The body as JSON.
    func decode<Value: Decodable>(_ type: Value.Type = Value.self) throws -> Value {
        try JSONDecoder().decode(type, from: Data(body))
    }
}

/// Sets the clock of the test's database so many hours ahead.
func jump(hours: Int) async throws {
    try await TestDatabase.current.pool.script(
        """
        create or replace function koppeling.now() returns timestamptz
            language sql volatile parallel safe
            return clock_timestamp() + make_interval(hours => \(hours));
        """)
}

/// An error as the service center tells it.
struct ToldProblem: Decodable {
    var title: String
    var status: Int
    var detail: String
    var field: String?
}

/// Runs the body with a service center on the database of the running test.
func withServiceCenter(
    vault: Vault? = nil, tickets: AccountTickets? = nil, publicURL: String? = nil, log: CapturedLog = CapturedLog(),
    isTraining: Bool = false, instances: Instances? = nil, mergeFields: MergeFields? = nil,
    _ body: (Door) async throws -> Void
) async throws {
    let center = ServiceCenter(
        pool: TestDatabase.current.pool,
        configuration: ServiceCenter.Configuration(port: 0, publicURL: publicURL, isTraining: isTraining),
        tickets: tickets, vault: vault, instances: instances, mergeFields: mergeFields, logger: log.logger)
    let http = HTTPClient(allowPlaintext: true)
    defer { http.shutdown() }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await center.run() }
        let port = try await center.boundPort()
        let result: Result<Void, any Error>
        do {
            result = .success(try await body(Door(http: http, base: "http://127.0.0.1:\(port)", log: log)))
        } catch {
            result = .failure(error)
        }
        group.cancelAll()
        // A server that is cancelled may say so.
        while await group.nextResult() != nil {}
        try result.get()
    }
}

/// Runs a worker with these handlers while the body runs.
func withWorker(
    _ handlers: [any JobHandler] = [EchoHandler()], metrics: PrometheusRegistry = PrometheusRegistry(), on pool: Pool,
    _ body: () async throws -> Void
) async throws {
    let worker = Worker(pool: pool, metrics: metrics, logger: CapturedLog().logger)
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await worker.run() }
        group.addTask { try await worker.consume(queue: "default", handlers: handlers) }
        _ = try await worker.id
        try await body()
        group.cancelAll()
        while await group.nextResult() != nil {}
    }
}

/// Puts a linked list named News into the database of the running test, whose webhook has this secret.
@discardableResult
func insertInstance(secret: String) async throws -> Int64 {
    let rows = try await TestDatabase.current.pool.query(
        """
        with the_group as (
            insert into koppeling.target_group (name, email_kind, linked) values ('News', 'work', true) returning id
        ), account as (
            insert into koppeling.mailchimp_account (name, credential, data_centre, account_id, login_id)
            values ('Account', '\\x00', 'us1', 'a', 'l') returning id
        )
        insert into koppeling.connector_instance (
            account_id, name, list_id, list_name, target_group_id, webhook_secret_hash, webhook_secret)
        select account.id, 'News', 'abc123', 'News', the_group.id, sha256(convert_to(\(secret), 'UTF8')), '\\x00'
        from the_group, account
        returning id
        """)
    return try rows.scalar()
}

/// Everything that was logged, at every level.
final class CapturedLog: Sendable {
    private let lines = Locked<[String]>([])

    var text: String { lines.withLock { $0 }.joined(separator: "\n") }

    var logger: Logger {
        var logger = Logger(label: "test") { _ in Handler(log: self) }
        logger.logLevel = .trace
        return logger
    }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.trace

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            let line = "\(event.level) \(event.message) \(metadata) \(event.metadata ?? [:])"
            log.lines.withLock { $0.append(line) }
        }
    }
}
