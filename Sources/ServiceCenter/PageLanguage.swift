/// The languages of the pages.
enum PageLanguage: String, Sendable, CaseIterable {
    case dutch = "nl"
    case english = "en"

    /// The one that a browser prefers, by its `Accept-Language`; Dutch when it says nothing of either.
    init(accepting header: String?) {
        var best = (language: PageLanguage.dutch, weight: 0.0)
        for choice in (header ?? "").prefix(1_000).split(separator: ",") {
            let parts = choice.split(separator: ";").map { $0.filter { !$0.isWhitespace }.lowercased() }
            guard let name = parts.first, let language = PageLanguage(rawValue: String(name.prefix { $0 != "-" }))
            else {
                continue
            }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            if weight > best.weight { best = (language, weight) }
        }
        self = best.language
    }
}
