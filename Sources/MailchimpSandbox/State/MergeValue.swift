/// What a caller is told about a value of a merge field.
struct MergeFault: Error {
    let message: String
    /// Whether the value is not even of the shape that the field has, which the API tells in another way.
    var isOfShape = false
}

/// The values that a field takes.
extension MergeField {
    /// The value as it is kept, or what is wrong with it; an empty text clears any kind.
    func normalised(_ value: JSON, checksPhones: Bool = true) -> Result<JSON, MergeFault> {
        if value == "" || value == .null { return .success("") }
        return switch kind {
        case .text: text(value).map { .string(Self.cut($0, to: 255)) }
        case .number: number(value)
        case .date: date(value)
        case .birthday: birthday(value)
        case .zip:
            text(value).flatMap {
                isDigits($0, 5) ? .success(.string($0)) : fault("Please enter a zip code (5 digits)")
            }
        case .phone: phone(value, isChecked: checksPhones)
        case .address: address(value)
        case .radio, .dropdown: choice(value)
        case .url, .imageurl:
            text(value).flatMap { isURL($0) ? .success(.string($0)) : fault("Please enter a valid URL") }
        }
    }

    private func fault<T>(_ message: String) -> Result<T, MergeFault> { .failure(MergeFault(message: message)) }

    private func text(_ value: JSON) -> Result<String, MergeFault> {
        switch value {
        case .string(let text): .success(text)
        case .integer(let number): .success(String(number))
        case .number(let number): .success(String(number))
        default:
            .failure(
                MergeFault(message: "Data did not match any of the schemas described in anyOf.", isOfShape: true))
        }
    }

    private func number(_ value: JSON) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            if let whole = Int(text.trimming) { return .success(.integer(whole)) }
            if let number = Double(text.trimming), number.isFinite { return .success(.number(number)) }
            return fault("Please enter a number")
        }
    }

    private func date(_ value: JSON) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            let american = text.split(separator: "/", omittingEmptySubsequences: false).map { part in
                part.utf8.count == 1 ? "0\(part)" : String(part)
            }
            let iso = american.count == 3 ? "\(american[2])-\(american[0])-\(american[1])" : String(text.prefix(10))
            guard Timestamp.milliseconds(iso) != nil else { return fault("Please enter the date") }
            return .success(.string(iso))
        }
    }

    private func birthday(_ value: JSON) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
            guard parts.count == 2, let month = parts[0], let day = parts[1], (1...12).contains(month),
                (1...Timestamp.days(in: month, of: 2000)).contains(day)
            else { return fault("Please enter a month (01-12) and a day (01-31)") }
            return .success(.string((month < 10 ? "0" : "") + "\(month)/" + (day < 10 ? "0" : "") + "\(day)"))
        }
    }

    private func phone(_ value: JSON, isChecked: Bool) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            guard phoneFormat == "US", isChecked else { return .success(.string(text)) }
            return text.count { $0.isNumber } == 10
                ? .success(.string(text)) : fault("Please enter a phone number in the format (###) ### - ####")
        }
    }

    private func choice(_ value: JSON) -> Result<JSON, MergeFault> {
        text(value).flatMap { text in
            choices.contains(text)
                ? .success(.string(text))
                : fault("Value must be one of: \(choices.joined(separator: ", ")) (not \(text))")
        }
    }

    /// An address is whole or not there at all.
    private func address(_ value: JSON) -> Result<JSON, MergeFault> {
        guard case .object(let given) = value else {
            return .failure(
                MergeFault(message: "Data did not match any of the schemas described in anyOf.", isOfShape: true))
        }
        if given.pairs.allSatisfy({ $0.value == "" || $0.value == .null }) { return .success("") }
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

    private func isURL(_ text: String) -> Bool {
        let parts = text.split(separator: "://", maxSplits: 1)
        return parts.count == 2 && !parts[0].isEmpty && !parts[1].isEmpty && !text.contains { $0.isWhitespace }
    }

    /// The longest start of a text that fits in a number of bytes without splitting a character.
    private static func cut(_ text: String, to bytes: Int) -> String {
        guard text.utf8.count > bytes else { return text }
        var kept = text
        while kept.utf8.count > bytes { kept.removeLast() }
        return kept
    }
}

extension Audience {
    /// Takes a field and all of its values off the list; `last_changed` of its members stays.
    func removeMergeField(at index: Int) {
        mergeFields.remove(at: index)
        for slot in statuses.indices {
            guard var member = member(at: slot), index < member.merge.count else { continue }
            member.merge.remove(at: index)
            replace(slot, with: member)
        }
    }
}
