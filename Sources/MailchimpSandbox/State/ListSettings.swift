/// What the owner of a list has set, in the form in which the API shows it.
struct ListSettings: Sendable {
    enum Kind: Sendable {
        case text, flag
        /// An object of texts with these names.
        case texts([String])
    }

    /// The settings that a call can change.
    static let fields: [(name: String, kind: Kind)] = [
        ("name", .text),
        (
            "contact",
            .texts(["company", "address1", "address2", "city", "state", "zip", "country", "phone"])
        ),
        ("permission_reminder", .text), ("use_archive_bar", .flag),
        ("campaign_defaults", .texts(["from_name", "from_email", "subject", "language"])),
        ("notify_on_subscribe", .text), ("notify_on_unsubscribe", .text), ("email_type_option", .flag),
        ("double_optin", .flag), ("marketing_permissions", .flag),
    ]

    /// What a list cannot be made without.
    static let required = ["name", "contact", "permission_reminder", "campaign_defaults", "email_type_option"]

    private(set) var values: JSONObject

    init(name: String, isDoubleOptIn: Bool) {
        values = [
            "name": .string(name),
            "contact": [
                "company": "Sandbox", "address1": "", "address2": "", "city": "", "state": "", "zip": "",
                "country": "NL", "phone": "",
            ],
            "permission_reminder": "You are receiving this because you asked for it.", "use_archive_bar": true,
            "campaign_defaults": [
                "from_name": "Sandbox", "from_email": "owner@sandbox.test", "subject": "", "language": "en",
            ],
            "notify_on_subscribe": "", "notify_on_unsubscribe": "", "email_type_option": false,
            "double_optin": .bool(isDoubleOptIn), "marketing_permissions": false,
        ]
    }

    var name: String { values["name"]?.string ?? "" }
    var isDoubleOptIn: Bool { values["double_optin"]?.bool ?? false }
    var asksForPermissions: Bool { values["marketing_permissions"]?.bool ?? false }

    subscript(name: String) -> JSON { values[name] ?? .null }

    /// Takes over what a body names; what it does not name stays.
    mutating func take(_ body: JSONObject) throws(Problem) {
        var errors: [(field: String, message: String)] = []
        for (name, kind) in Self.fields {
            guard let value = body[name] else { continue }
            switch (kind, value) {
            case (.text, .string), (.flag, .bool): values[name] = value
            case (.texts(let parts), .object(let given)):
                var whole = values[name]?.object ?? JSONObject()
                for part in parts {
                    guard let text = given[part] else { continue }
                    if text.string == nil {
                        errors.append(("\(name).\(part)", "Schema describes string, \(text.kind) found instead"))
                    }
                    whole[part] = text
                }
                values[name] = .object(whole)
            case (.text, _): errors.append((name, "Schema describes string, \(value.kind) found instead"))
            case (.flag, _): errors.append((name, "Schema describes boolean, \(value.kind) found instead"))
            case (.texts, _): errors.append((name, "Schema describes object, \(value.kind) found instead"))
            }
        }
        if !errors.isEmpty { throw .invalid(errors) }
    }
}
