/// A receiver of a list's events.
struct Webhook: Sendable {
    static let eventNames = ["subscribe", "unsubscribe", "profile", "cleaned", "upemail", "campaign"]
    static let sourceNames = ["user", "admin", "api"]

    let id: String
    let url: String
    var events: Set<String>
    var sources: Set<String>
    /// How many deliveries in a row were given up.
    var failures = 0
    /// Why nothing is delivered any more.
    var disabled: String?
}

/// Something that happened to a member and that webhooks may tell.
enum MemberEvent {
    case status(from: MemberStatus?, to: MemberStatus, complaint: Bool = false)
    /// The address changed; the former one is given.
    case address(String)
    case profile
}

/// One event for one receiver, on its way.
struct Delivery: Sendable {
    let list: String
    let webhook: String
    let url: String
    let type: String
    let body: String
    /// How long it is held back, when deliveries are to be shuffled.
    let delay: Duration
}

/// How webhooks are delivered, what goes wrong on purpose, and what became of them.
struct CourierState {
    /// Where deliveries go while the sandbox runs.
    var deliveries: AsyncStream<Delivery>.Continuation?
    /// The share of events that are never delivered.
    var dropShare = 0.0
    /// The share of events that are delivered twice.
    var doubleShare = 0.0
    /// Events are held back for up to so many milliseconds, each for another time.
    var shuffleMilliseconds = 0.0
    var fired = 0
    var dropped = 0
    var delivered = 0
    var failed = 0
    var refused = 0
    /// Deliveries that are neither done nor given up.
    var pending = 0
    var journal = Ring<JSON>(capacity: 2000)
}

/// The last so many of something.
struct Ring<Element: Sendable>: Sendable {
    private var elements: [Element] = []
    private var next = 0
    let capacity: Int

    init(capacity: Int) { self.capacity = max(1, capacity) }

    mutating func append(_ element: Element) {
        if elements.count < capacity {
            elements.append(element)
        } else {
            elements[next] = element
        }
        next = (next + 1) % capacity
    }

    mutating func removeAll() {
        elements = []
        next = 0
    }

    /// The elements, oldest first.
    var ordered: some Sequence<Element> {
        let start = elements.count < capacity ? 0 : next
        return elements.indices.lazy.map { elements[(start + $0) % elements.count] }
    }

    /// The elements, newest first.
    var newestFirst: some Sequence<Element> {
        let start = elements.count < capacity ? 0 : next
        let count = elements.count
        return elements.indices.lazy.map { elements[(start + count - 1 - $0) % count] }
    }
}
