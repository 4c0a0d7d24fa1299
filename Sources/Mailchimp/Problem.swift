import FoundationEssentials

/// Mailchimp's `application/problem+json`, read with patience.
///
/// `type` may be absent, `instance` empty, and the whole document an HTML page: then there is no problem document at all.
/// The content type is not asked, because it is wrong as often as it is right. Long texts are cut.
struct Problem {
    var title: String
    var detail: String
    var fields: [MailchimpError.Field]
    var instance: String

    /// Whether the network in front of Mailchimp wrote it, which knows nothing of accounts and members.
    var isOfTheNetwork: Bool

    /// Nil when the bytes are not a JSON object that says anything.
    init?(_ body: [UInt8]) {
        // A byte that is not UTF-8 costs a letter and not the document, and so does a byte order mark nothing.
        let text = String(decoding: body.starts(with: [0xef, 0xbb, 0xbf]) ? body[3...] : body[...], as: UTF8.self)
        guard let document = try? JSONDecoder().decode(Document.self, from: Data(text.utf8)) else { return nil }
        guard !document.title.isEmpty || !document.detail.isEmpty || !document.fields.isEmpty else { return nil }
        title = document.title.cut(to: 200)
        detail = document.detail.cut(to: 1000)
        fields = document.fields.prefix(50).map {
            .init(field: $0.field.cut(to: 100), message: $0.message.cut(to: 500))
        }
        instance = document.instance.cut(to: 100)
        isOfTheNetwork = document.type.hasPrefix("akamai") || document.title.hasPrefix("akamai")
    }

    private struct Document: Decodable {
        var type: String
        var title: String
        var detail: String
        var fields: [MailchimpError.Field]
        var instance: String

        enum Key: String, CodingKey { case type, title, detail, errors, instance }

        init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: Key.self)
            type = values.text(.type) ?? ""
            title = values.text(.title) ?? ""
            detail = values.text(.detail) ?? ""
            instance = values.text(.instance) ?? ""
            fields = values.lenient(Refusals.self, .errors)?.fields ?? []
        }
    }
}

/// The refused fields in whichever shape they come: a list of objects or of sentences, one of either, or an object with
/// the sentences by field.
private struct Refusals: Decodable {
    var fields: [MailchimpError.Field]

    init(from decoder: any Decoder) throws {
        let value = try decoder.singleValueContainer()
        let one = Refusal(one: decoder)
        if !one.message.isEmpty {
            fields = [one.asField]
        } else if let byField = try? value.decode([String: Refusal].self) {
            fields = byField.sorted { $0.key < $1.key }.map { .init(field: $0.key, message: $0.value.message) }
        } else {
            fields = try value.decode([Refusal].self).map(\.asField)
        }
        fields.removeAll { $0.field.isEmpty && $0.message.isEmpty }
    }
}

/// One refused field; what cannot be read says nothing, and spoils nothing for the others.
private struct Refusal: Decodable {
    var field = ""
    var message = ""

    var asField: MailchimpError.Field { .init(field: field, message: message) }

    private enum Key: String, CodingKey { case field, message, error }

    init(one decoder: any Decoder) {
        if let values = try? decoder.container(keyedBy: Key.self) {
            field = values.text(.field) ?? ""
            message = values.text(.message) ?? values.text(.error) ?? ""
        } else if let scalar = try? decoder.singleValueContainer().decode(Scalar.self) {
            message = scalar.text
        }
    }

    init(from decoder: any Decoder) throws {
        self.init(one: decoder)
        if message.isEmpty, let texts = try? decoder.singleValueContainer().decode([Scalar].self) {
            message = texts.map(\.text).joined(separator: " ")
        }
    }
}

extension String {
    /// The text, without what is beyond so many bytes.
    func cut(to most: Int) -> String {
        utf8.count <= most ? self : String(decoding: utf8.prefix(most), as: UTF8.self)
    }
}
