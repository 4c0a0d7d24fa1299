import HTTPClient

/// What to do about an error.
public enum Advice: Sendable, Hashable {
    /// Why nobody may be written to at this address.
    public enum Suppression: String, Sendable, Hashable {
        /// A no, a bounce or a review, which the member's own status tells apart when it is read.
        case complianceState
        /// Deleted for good.
        case forgotten
    }

    /// Try again later, by exponential backoff with jitter, and with fewer calls at once.
    case retry
    /// What was known is out of date: read the member again and decide anew.
    case lookAgain
    /// Hold all calls of the account until somebody repairs the credential or the plan.
    case waitForAccount
    /// Hold this person's action until somebody corrects the data.
    case park
    /// Never try to subscribe this contact again.
    case suppress(Suppression)
    /// Try this person again after a day, then after ever more days.
    case deferDays
    /// A mistake of ours: hold the action and tell the people who run this.
    case alarm
    /// Send nothing more for the account until a person has looked at it.
    case stop
}

extension MailchimpError {
    /// What to do about it.
    public var advice: Advice {
        switch code {
        case .invalidKey, .invalidGrant, .invalidClient, .forbidden, .userDisabled, .wrongDataCentre, .contactLimit:
            .waitForAccount
        case .accountBlocked, .insecure: .stop
        case .notFound, .alreadyThere, .methodNotAllowed, .memberExists, .addressTaken, .addressFixed: .lookAgain
        case .complianceState: .suppress(.complianceState)
        case .forgotten: .suppress(.forgotten)
        case .invalidAddress, .fakeAddress, .invalidMergeFields, .mergeFieldLimit, .other: .park
        case .signedUpTooOften: .deferDays
        case .schema: .alarm
        case .tooManyRequests, .overloaded, .redirected, .malformedResponse: .retry
        case .transport: transportAdvice
        }
    }

    /// Whether fewer calls should be made at once from now on, over all workers.
    public var isThrottling: Bool {
        switch code {
        case .tooManyRequests: true
        // The edge answers without a problem document when it has had enough.
        case .overloaded: status == 403 || status == 404
        case .transport: cause?.code == .timeout
        default: false
        }
    }

    /// Whether nothing but a required merge field was missing, so that a call that skips their validation would pass.
    public var onlyRequiredFieldsAreMissing: Bool {
        code == .invalidMergeFields && !fields.isEmpty
            && fields.allSatisfy { $0.message.lowercased().contains("please enter a value") }
    }

    private var transportAdvice: Advice {
        switch cause?.code {
        // A bad certificate may be a box in between, so it is tried again; but it is not our data that is wrong.
        case .connect, .timeout, .reset, .malformed, .cancelled, .shutDown, .tls, .other, nil: .retry
        case .badURL, .badRequest, .tooLarge: .alarm
        }
    }
}
