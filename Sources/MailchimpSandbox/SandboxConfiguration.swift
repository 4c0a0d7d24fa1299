import FoundationEssentials

/// How a sandbox starts.
public struct SandboxConfiguration: Sendable {
    /// The address to listen on.
    public var host = "127.0.0.1"
    /// The port to listen on; 0 takes a free one.
    public var port = 0
    /// The key of the first account; its end names the data centre.
    public var key = "00000000000000000000000000000001-us1"
    /// The name of the first account.
    public var accountName = "Sandbox"
    /// The lists that the first account has from the start.
    public var lists: [String] = []
    /// The uncertain points of the API.
    public var switches = SandboxSwitches()
    /// How long calls take.
    public var latency = SandboxLatency()
    /// The most calls that one user may have in flight; one more is refused with 429.
    public var connectionsPerUser = 10
    /// The most bytes of a request's body.
    public var maximumBody = 32 * 1024 * 1024
    /// How many requests the log keeps; its counters are exact whatever it drops.
    public var requestsKept = 20_000
    /// How many entries a member's history keeps.
    public var historyKept = 50
    /// The pauses before a webhook is delivered again; their number is the number of repeats.
    public var webhookRetries = WebhookSchedule.faithful
    /// How long the receiver of a webhook may take.
    public var webhookTimeout: Duration = .seconds(10)
    /// After how many deliveries in a row that never arrived a webhook is switched off; 0 for never.
    public var webhookFailuresUntilDisabled = 20
    /// Whether the control door opens to other machines than this one.
    public var controlDoorIsOpen = false
    /// The seed of identifiers and of faults by share; none for a new one each time.
    public var seed: UInt64?
    /// What the clock shows at the start, in seconds since 1970; none for the real time.
    public var startsAt: Int?
    /// The time in seconds since 1970; it never goes back, whatever this returns.
    public var clock: @Sendable () -> Int = { Int(Date().timeIntervalSince1970) }

    /// The defaults.
    public init() {}

    /// The seconds since 1970 of an instant such as `2026-01-31T09:00:00Z`, or of a day alone.
    public static func seconds(iso8601 text: String) -> Int? { Timestamp.milliseconds(text).map { $0 / 1000 } }
}

/// How long calls take, in milliseconds.
public struct SandboxLatency: Sendable, Equatable {
    /// Any call but a bulk call or a page of members.
    public var single = 0.0
    /// `POST /lists/{id}`, besides its members.
    public var bulk = 0.0
    /// Each member of a bulk call.
    public var bulkMember = 0.0
    /// `GET /lists/{id}/members`, besides its members.
    public var page = 0.0
    /// Each member of a page.
    public var pageMember = 0.0
    /// From handing in a batch to its first call, by the clock that can be put forward.
    public var batch = 0.0
    /// Each call of a batch, likewise.
    public var batchOperation = 0.0

    /// No latency.
    public init() {}

    /// Times like those of the real API.
    public static var realistic: SandboxLatency {
        var latency = SandboxLatency()
        latency.single = 350
        latency.bulk = 1500
        latency.bulkMember = 3
        latency.page = 350
        latency.pageMember = 1
        latency.batch = 20_000
        latency.batchOperation = 63
        return latency
    }

    static var names: [(name: String, path: any WritableKeyPath<SandboxLatency, Double> & Sendable)] {
        [
            ("single", \.single), ("bulk", \.bulk), ("bulk_member", \.bulkMember), ("page", \.page),
            ("page_member", \.pageMember), ("batch", \.batch), ("batch_operation", \.batchOperation),
        ]
    }
}
