/// A field of a list that personalises what it sends.
struct MergeField: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case text, number, address, phone, date, url, imageurl, radio, dropdown, birthday, zip
    }

    let id: Int
    let tag: String
    var name: String
    let kind: Kind
    var isRequired = false
    var defaultValue = ""
    var isPublic = true
    var displayOrder: Int
    var helpText = ""
    var choices: [String] = []
    var phoneFormat = "none"
    var dateFormat = "MM/DD/YYYY"
    var size = 25

    /// The fields that a list has from the start; the address itself is not among them.
    static let ofNewList: [MergeField] = [
        MergeField(id: 1, tag: "FNAME", name: "First Name", kind: .text, displayOrder: 2),
        MergeField(id: 2, tag: "LNAME", name: "Last Name", kind: .text, displayOrder: 3),
        MergeField(id: 3, tag: "ADDRESS", name: "Address", kind: .address, displayOrder: 4),
        MergeField(id: 4, tag: "PHONE", name: "Phone Number", kind: .phone, displayOrder: 5),
    ]

    /// The value as it is kept, or what is wrong with it; an empty text clears any kind.
    func normalised(_ value: JSON) -> Result<JSON, MergeFault> {
        if value == "" || value == .null { return .success("") }
        switch kind {
        case .text: return text(value).map { .string(Self.cut($0, to: 255)) }
        case .number: return number(value)
        case .date: return date(value)
        case .birthday: return birthday(value)
        case .zip:
            return text(value).flatMap {
                isDigits($0, 5) ? .success(.string($0)) : fault("Please enter a zip code (5 digits)")
            }
        case .phone: return phone(value)
        case .address: return address(value)
        case .radio, .dropdown:
            return text(value).flatMap {
                choices.contains($0) ? .success(.string($0)) : fault("Please choose one of the options")
            }
        case .url, .imageurl:
            return text(value).flatMap {
                $0.contains("://") ? .success(.string($0)) : fault("Please enter a valid URL")
            }
        }
    }

    /// What a caller is told about a value.
    struct MergeFault: Error {
        let message: String
    }

    private func fault<T>(_ message: String) -> Result<T, MergeFault> { .failure(MergeFault(message: message)) }

    private func text(_ value: JSON) -> Result<String, MergeFault> {
        switch value {
        case .string(let text): .success(text)
        case .integer(let number): .success(String(number))
        case .number(let number): .success(String(number))
        default: fault("Please enter a value")
        }
    }

    private func number(_ value: JSON) -> Result<JSON, MergeFault> {
        switch value {
        case .integer, .number: return .success(value)
        case .string(let text):
            if let whole = Int(text.trimming) { return .success(.integer(whole)) }
            if let number = Double(text.trimming), number.isFinite { return .success(.number(number)) }
            return fault("Please enter a number")
        default: return fault("Please enter a number")
        }
    }

    private func date(_ value: JSON) -> Result<JSON, MergeFault> {
        guard case .string(let text) = value else { return fault("Please enter a date") }
        let american = text.split(separator: "/", omittingEmptySubsequences: false)
        let iso = american.count == 3 ? "\(american[2])-\(american[0])-\(american[1])" : String(text.prefix(10))
        guard Timestamp.milliseconds(iso) != nil else { return fault("Please enter a date") }
        return .success(.string(iso))
    }

    private func birthday(_ value: JSON) -> Result<JSON, MergeFault> {
        guard case .string(let text) = value else { return fault("Please enter a month (01-12) and a day (01-31)") }
        let parts = text.split(separator: "/").compactMap { Int($0) }
        guard parts.count == 2, (1...12).contains(parts[0]),
            (1...Timestamp.days(in: parts[0], of: 2000)).contains(parts[1])
        else { return fault("Please enter a month (01-12) and a day (01-31)") }
        return .success(value)
    }

    private func phone(_ value: JSON) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            guard phoneFormat == "US" else { return .success(.string(text)) }
            let digits = text.filter { $0.isNumber }
            return digits.count == 10
                ? .success(.string(text)) : fault("Please enter a phone number in the format (###) ### - ####")
        }
    }

    private func address(_ value: JSON) -> Result<JSON, MergeFault> {
        guard case .object(let given) = value else { return fault("Please enter a complete address") }
        var kept = JSONObject()
        for part in ["addr1", "addr2", "city", "state", "zip", "country"] {
            let text = given[part]?.string ?? ""
            if text.isEmpty, part != "addr2", part != "country" { return fault("Please enter a complete address") }
            kept.append(part, .string(text.isEmpty && part == "country" ? "US" : text))
        }
        return .success(.object(kept))
    }

    private func isDigits(_ text: String, _ count: Int) -> Bool {
        text.utf8.count == count && text.utf8.allSatisfy { (48...57).contains($0) }
    }

    /// The longest start of a text that fits in a number of bytes without splitting a character.
    private static func cut(_ text: String, to bytes: Int) -> String {
        guard text.utf8.count > bytes else { return text }
        var kept = text
        while kept.utf8.count > bytes { kept.removeLast() }
        return kept
    }
}
