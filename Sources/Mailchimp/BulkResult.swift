/// What became of each address of a bulk call.
///
/// Mailchimp answers 200 even when every address was refused, so the call's success says nothing about an address.
public struct BulkResult: Sendable, Hashable, Decodable {
    /// What became of one address.
    public enum Outcome: Sendable, Hashable {
        /// It is a member now; its status may differ from the one asked for.
        case created(Member)
        /// It was a member and has been changed.
        case updated(Member)
        /// It was refused.
        case refused(Failure)
    }

    /// An address that was refused, and why.
    public struct Failure: Sendable, Hashable {
        /// The address as it was sent.
        public var address: String
        /// Why; `other` when Mailchimp gives no reason that is known, and then a single call tells more.
        public var code: MailchimpError.Code
        /// Mailchimp's words.
        public var message: String
        /// The field that was refused, or "".
        public var field: String

        /// The same as the error of a single call.
        public var error: MailchimpError {
            let fields = field.isEmpty ? [] : [MailchimpError.Field(field: field, message: message)]
            return MailchimpError(code, status: 200, detail: message, fields: fields)
        }
    }

    /// The members that are new.
    public var newMembers: [Member]
    /// The members that were changed.
    public var updatedMembers: [Member]
    /// The addresses that were refused.
    public var errors: [Failure]

    /// What became of each address in lower case; an address that is absent has an unknown fate.
    public var outcomes: [String: Outcome] {
        var outcomes: [String: Outcome] = [:]
        for failure in errors { outcomes[failure.address.lowercased()] = .refused(failure) }
        for member in updatedMembers { outcomes[member.emailAddress.lowercased()] = .updated(member) }
        for member in newMembers { outcomes[member.emailAddress.lowercased()] = .created(member) }
        return outcomes
    }

    private enum Key: String, CodingKey {
        case newMembers = "new_members", updatedMembers = "updated_members", errors, totalCreated = "total_created"
    }

    /// Reads a result; one with none of its parts is an error.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        guard values.contains(.newMembers) || values.contains(.errors) || values.contains(.totalCreated) else {
            throw DecodingError.keyNotFound(
                Key.newMembers,
                .init(codingPath: decoder.codingPath, debugDescription: "Not the result of a bulk call."))
        }
        newMembers = try values.decodeIfPresent([Member].self, forKey: .newMembers) ?? []
        updatedMembers = try values.decodeIfPresent([Member].self, forKey: .updatedMembers) ?? []
        errors = try values.decodeIfPresent([Failure].self, forKey: .errors) ?? []
    }
}

extension BulkResult.Failure: Decodable {
    private enum Key: String, CodingKey {
        case address = "email_address", code = "error_code", error, field, fieldMessage = "field_message"
    }

    /// Reads a refusal; the sentence may stand in either of two places.
    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: Key.self)
        let texts = [values.text(.error), values.text(.fieldMessage)].compactMap { $0 }.filter { !$0.isEmpty }
        address = values.text(.address) ?? ""
        message = texts.joined(separator: " ").cut(to: 1000)
        field = (values.text(.field) ?? "").cut(to: 100)
        code = Classification.code(bulkCode: values.text(.code) ?? "", texts: texts)
    }
}
