import FoundationEssentials
import Logging

/// Everything that the sandbox knows, behind one actor.
///
/// Every call is decided in one step without suspension, so that no other call sees half of it. What is slow (parsing,
/// waiting, writing answers, delivering webhooks) happens outside.
actor World {
    let configuration: SandboxConfiguration
    let logger: Logger
    var switches: SandboxSwitches
    var latency: SandboxLatency
    var accounts = Accounts()
    var oauthBook = OAuthBook()
    var audiences: [String: Audience] = [:]
    /// The ids of the lists in the order of their making.
    var listOrder: [String] = []
    var log: RequestLog
    var audit = Audit()
    var faults = FaultBook()
    var courier: CourierState
    var batches = BatchBook()
    /// Addresses that have signed up to too many lists lately.
    var throttledAddresses: Set<HexID> = []
    var generator: SeededGenerator
    /// How many seconds the clock stands before real time.
    var advanced = 0
    private var latest = 0
    private var nextWebID = 400_000_001

    init(configuration: SandboxConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        switches = configuration.switches
        latency = configuration.latency
        log = RequestLog(capacity: configuration.requestsKept)
        generator = SeededGenerator(seed: configuration.seed ?? UInt64.random(in: .min ... .max))
        // Of its own, so that noise on webhooks does not change the identifiers.
        courier = CourierState(configuration, noise: SeededGenerator(seed: generator.next()))
        advanced = configuration.startsAt.map { $0 - configuration.clock() } ?? 0
    }

    /// Makes the first account and its lists, once.
    func seed() {
        guard accounts.all.isEmpty else { return }
        let account = addAccount(key: configuration.key, name: configuration.accountName, dataCentre: nil)
        for name in configuration.lists { addList(name: name, account: account.id) }
    }

    /// The time in seconds, real time plus what it was advanced; it never goes back.
    func now() -> Int {
        latest = max(latest, configuration.clock() + advanced)
        return latest
    }

    /// The same time, finer than seconds and only good for comparing.
    func instant() -> ContinuousClock.Instant { .now + .seconds(advanced) }

    func newID(_ digits: Int) -> String { HexID.digits(generator.next(), digits) }

    func newWebID() -> Int {
        defer { nextWebID += 1 }
        return nextWebID
    }

    func newKey(_ dataCentre: String) -> String { HexID(random: &generator).hex + "-" + dataCentre }

    @discardableResult
    func addAccount(key: String?, name: String, dataCentre: String?) -> Account {
        let key = key ?? newKey(dataCentre ?? "us1")
        let account = Account(
            id: newID(16), name: name, dataCentre: dataCentre ?? Accounts.dataCentre(of: key), created: now(),
            users: [newUser(name: "\(name) Owner", role: .owner, key: key)])
        accounts.add(account)
        return account
    }

    func newUser(name: String, email: String? = nil, role: User.Role, key: String) -> User {
        let id = String(newWebID())
        return User(id: id, name: name, email: email ?? "user\(id)@sandbox.test", role: role, keys: [key])
    }

    @discardableResult
    func addList(name: String, account: String, isDoubleOptIn: Bool = false) -> Audience {
        let audience = Audience(
            id: newID(10), webID: newWebID(), account: account, name: name, isDoubleOptIn: isDoubleOptIn, created: now()
        )
        audiences[audience.id] = audience
        listOrder.append(audience.id)
        return audience
    }

    /// The lists of an account in the order of their making.
    func lists(of account: String) -> [Audience] {
        listOrder.compactMap { audiences[$0] }.filter { $0.account == account }
    }
}
