/// The rules by which the API takes an address for valid.
enum EmailAddress {
    /// What is wrong with an address, or nothing.
    static func fault(_ address: String, refusesFakes: Bool) -> String? {
        let plain = "Please provide a valid email address."
        let parts = address.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !address.contains(where: { $0.isWhitespace }), address.utf8.count <= 254 else {
            return plain
        }
        let local = parts[0]
        let domain = parts[1]
        if local.isEmpty || local.utf8.count > 64 || local.hasPrefix(".") || local.hasSuffix(".")
            || local.contains("..")
            || local.contains(where: { "()<>[]:;,\\\"".contains($0) })
        {
            return "The username portion of the email address is invalid (the portion before the @: \(local))"
        }
        let labels = domain.split(separator: ".", omittingEmptySubsequences: false)
        guard labels.count > 1, labels.allSatisfy(isLabel), labels.last?.contains(where: { $0.isLetter }) == true else {
            return "The domain portion of the email address is invalid (the portion after the @: \(domain))"
        }
        if refusesFakes, fakeDomains.contains(domain.lowercased()) {
            return "\(address) looks fake or invalid, please enter a real email address."
        }
        return nil
    }

    private static let fakeDomains: Set<String> = [
        "example.com", "example.org", "example.net", "test.com", "email.com",
    ]

    private static func isLabel(_ label: Substring) -> Bool {
        !label.isEmpty && label.utf8.count <= 63 && !label.hasPrefix("-") && !label.hasSuffix("-")
            && label.allSatisfy { $0.isLetter || $0.isNumber || $0 == "-" }
    }
}
