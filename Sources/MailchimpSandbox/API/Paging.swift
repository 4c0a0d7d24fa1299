/// The part of a collection that a caller asks for.
struct Paging: Sendable {
    static let largest = 1000

    let count: Int
    let offset: Int

    /// Reads it; of a larger count than the largest there is either nothing or as much as the largest.
    init(_ query: Query, refusesLarger: Bool) throws(Problem) {
        let asked = try query.number("count", default: 10, in: 0...(refusesLarger ? Self.largest : Int.max))
        count = min(asked, Self.largest)
        offset = try query.number("offset", default: 0, in: 0...Int.max)
    }

    func of<Element>(_ all: [Element]) -> ArraySlice<Element> { all.dropFirst(offset).prefix(count) }
}

extension World {
    func paging(_ call: Call) throws(Problem) -> Paging {
        try Paging(call.query, refusesLarger: switches.refusesLargePages)
    }
}

/// A time between `since_…` and `before_…` of a query.
struct Span: Sendable {
    private let since: Int?
    private let before: Int?

    init(_ query: Query, _ name: String) throws(Problem) {
        since = try query.instant("since_\(name)")
        before = try query.instant("before_\(name)")
    }

    /// Whether a time in seconds lies in it.
    func holds(_ second: Int) -> Bool {
        second * 1000 > since ?? Int.min && second * 1000 < before ?? Int.max
    }
}
