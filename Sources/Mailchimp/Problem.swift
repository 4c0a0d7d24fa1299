import FoundationEssentials

/// Mailchimp's `application/problem+json`, read with patience.
///
/// `type` may be absent, `instance` empty, and the whole document an HTML page: then there is no problem document at all.
struct Problem {
    var title: String
    var detail: String
    var fields: [MailchimpError.Field]
    var instance: String

    /// Nil when the bytes are not a JSON object that says anything.
    init?(_ body: [UInt8]) {
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(body)) else { return nil }
        guard !document.title.isEmpty || !document.detail.isEmpty || !document.fields.isEmpty else { return nil }
        title = document.title
        detail = document.detail
        fields = document.fields
        instance = document.instance
    }

    private struct Document: Decodable {
        var title: String
        var detail: String
        var fields: [MailchimpError.Field]
        var instance: String

        enum Key: String, CodingKey { case title, detail, errors, instance }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            title = values.text(.title) ?? ""
            detail = values.text(.detail) ?? ""
            instance = values.text(.instance) ?? ""
            fields = (values.lenient([Refusal].self, .errors) ?? []).map { .init(field: $0.field, message: $0.message) }
        }
    }

    private struct Refusal: Decodable {
        var field: String
        var message: String

        enum Key: String, CodingKey { case field, message }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            field = values.text(.field) ?? ""
            message = values.text(.message) ?? ""
        }
    }
}
