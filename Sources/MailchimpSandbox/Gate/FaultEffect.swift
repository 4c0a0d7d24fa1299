/// What a caller sees of a fault.
enum FaultEffect: String, Sendable, CaseIterable {
    case tooMany = "429"
    case tooManyEmpty = "429_empty"
    case forbiddenHTML = "403_html"
    case notFoundEmpty = "404_empty"
    case serverError = "500"
    case badGatewayHTML = "502_html"
    case unavailable = "503"
    case unavailableAkamai = "503_akamai"
    case complianceBlocked = "compliance"
    case contactLimit = "contact_limit"
    case gatewayTimeoutHTML = "504_html"
    /// The right answer, late.
    case hang
    /// Nothing for long, and then the edge gives up in place of the API.
    case timeout
    case reset
    case truncated
    case malformed
    case slow

    /// Whether the fault only makes sense once there is an answer, or is meant to lose one.
    var isNaturallyAfterWork: Bool {
        switch self {
        case .hang, .timeout, .truncated, .malformed, .slow: true
        default: false
        }
    }

    /// Whether it is done to the answer.
    var needsAnswer: Bool { self == .truncated || self == .malformed || self == .slow }

    /// How long it takes when nothing is said; the real API gives up after two minutes.
    var standardMilliseconds: Int {
        switch self {
        case .hang, .timeout: 120_000
        case .slow: 5000
        default: 0
        }
    }
}
