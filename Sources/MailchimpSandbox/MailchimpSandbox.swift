import Hummingbird
public import Logging
import NIOCore
public import ServiceLifecycle

/// A stand-in for Mailchimp: its Marketing API over HTTP with all state in memory, and a control door beside it.
///
/// ```swift
/// let sandbox = MailchimpSandbox()
/// let port = try await sandbox.start()
/// let list = await sandbox.addList(name: "News")
/// // http://127.0.0.1:\(port)/3.0/lists/\(list)
/// await sandbox.stop()
/// ```
public final class MailchimpSandbox: Service {
    private let configuration: SandboxConfiguration
    let world: World
    private let logger: Logger
    private let onListening: @Sendable (MailchimpSandbox, Int) async -> Void
    private let background = Background()

    /// Makes a sandbox that does not listen yet.
    ///
    /// - Parameters:
    ///   - configuration: how it starts.
    ///   - logger: where it says what an operator should know.
    ///   - onListening: called with the port each time it begins to listen.
    public init(
        configuration: SandboxConfiguration = SandboxConfiguration(),
        logger: Logger = Logger(label: "mailchimp-sandbox"),
        onListening: @escaping @Sendable (MailchimpSandbox, Int) async -> Void = { _, _ in }
    ) {
        self.configuration = configuration
        self.onListening = onListening
        self.logger = logger
        world = World(configuration: configuration, logger: logger)
    }

    /// Serves until the task is cancelled or a graceful shutdown begins.
    public func run() async throws {
        try await serve { _ in }
    }

    /// Serves in the background; returns the port once the sandbox listens.
    public func start() async throws -> Int {
        let (ports, continuation) = AsyncThrowingStream<Int, any Error>.makeStream()
        await background.begin {
            do {
                try await self.serve { continuation.yield($0) }
                continuation.finish()
            } catch {
                continuation.finish(throwing: error)
            }
        }
        for try await port in ports { return port }
        throw CancellationError()
    }

    /// Ends what ``start()`` began; calls in flight are cut off.
    public func stop() async { await background.end() }

    /// Adds an account; without a key it gets a new one.
    ///
    /// - Parameters:
    ///   - key: the API key, whose end names the data centre.
    ///   - name: the account's name.
    ///   - dataCentre: the data centre of its links, when it is not to be that of the key.
    /// - Returns: the id and the key of the account.
    @discardableResult
    public func addAccount(key: String? = nil, name: String = "Sandbox", dataCentre: String? = nil) async
        -> (id: String, key: String)
    {
        await world.seed()
        let account = await world.addAccount(key: key, name: name, dataCentre: dataCentre)
        return (account.id, account.keys.first ?? "")
    }

    /// Adds a user to an account, or to the first one, with a key of his own; returns his login id and the key.
    @discardableResult
    public func addUser(name: String, key: String? = nil, account: String? = nil) async -> (id: String, key: String) {
        await world.seed()
        return await world.addUser(name: name, key: key, account: account)
    }

    /// Registers an app that may ask users for access; returns its client id and secret.
    @discardableResult
    public func addApp(id: String? = nil, secret: String? = nil, redirectURI: String) async
        -> (id: String, secret: String)
    {
        let app = await world.addApp(id: id, secret: secret, redirectURI: redirectURI)
        return (app.id, app.secret)
    }

    /// Adds a list to an account, or to the first one; returns the list's id.
    @discardableResult
    public func addList(name: String, account: String? = nil) async -> String {
        await world.seed()
        return await world.addList(name: name, account: account)
    }

    /// The ids and names of the lists, in the order of their making.
    public func lists() async -> [(id: String, name: String)] {
        await world.seed()
        return await world.listNames()
    }

    private func serve(listening: @escaping @Sendable (Int) -> Void) async throws {
        await world.seed()
        var quiet = logger
        // The server calls it an error when a connection ends because the sandbox was stopped.
        quiet.logLevel = .critical
        let application = Application(
            responder: Gate(world: world, configuration: configuration),
            configuration: .init(
                address: .hostname(configuration.host, port: configuration.port), serverName: "openresty"),
            onServerRunning: { channel in
                let port = channel.localAddress?.port ?? 0
                listening(port)
                await self.onListening(self, port)
            },
            logger: quiet)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await Courier(world: self.world).run() }
            group.addTask { await BatchRunner(world: self.world).run() }
            defer { group.cancelAll() }
            do {
                try await application.run()
            } catch is CancellationError {
                // Being cancelled is the ordinary end of a sandbox that runs in the background.
            }
        }
    }
}

/// Holds the task of a sandbox that was started and not run.
private actor Background {
    private var task: Task<Void, Never>?

    func begin(_ work: @escaping @Sendable () async -> Void) {
        task?.cancel()
        task = Task { await work() }
    }

    func end() async {
        task?.cancel()
        await task?.value
        task = nil
    }
}

extension World {
    /// Adds a list to the account of that id, or to the first account.
    fileprivate func addList(name: String, account: String?) -> String {
        let owner = account.flatMap { accounts.account(id: $0) } ?? accounts.all.first
        return addList(name: name, account: owner?.id ?? "").id
    }

    fileprivate func addUser(name: String, key: String?, account: String?) -> (id: String, key: String) {
        guard let owner = account.flatMap({ accounts.account(id: $0) }) ?? accounts.all.first else { return ("", "") }
        let user = newUser(name: name, role: .admin, key: key ?? newKey(owner.dataCentre))
        accounts.add(user, to: owner.id)
        return (user.id, user.keys.first ?? "")
    }

    fileprivate func listNames() -> [(id: String, name: String)] {
        listOrder.compactMap { id in audiences[id].map { (id, $0.settings.name) } }
    }
}
