/// The form of an IP address.
enum IPAddress {
    static func isValid(_ text: String) -> Bool {
        text.contains(":") ? isVersion6(text) : isVersion4(text)
    }

    private static func isVersion4(_ text: some StringProtocol) -> Bool {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil && !$0.hasPrefix("+") }
    }

    /// At most eight groups of up to four digits, one run of them left out, the last two perhaps as version 4.
    private static func isVersion6(_ text: String) -> Bool {
        let halves = text.split(separator: "::", maxSplits: 2, omittingEmptySubsequences: false)
        guard halves.count <= 2 else { return false }
        var groups = 0
        for (index, half) in halves.enumerated() where !half.isEmpty {
            let parts = half.split(separator: ":", omittingEmptySubsequences: false)
            for (place, part) in parts.enumerated() {
                let isLast = index == halves.count - 1 && place == parts.count - 1
                if isLast, part.contains("."), isVersion4(part) {
                    groups += 2
                } else if (1...4).contains(part.utf8.count), part.allSatisfy({ $0.isASCII && $0.isHexDigit }) {
                    groups += 1
                } else {
                    return false
                }
            }
        }
        return halves.count == 2 ? groups < 8 : groups == 8
    }
}
