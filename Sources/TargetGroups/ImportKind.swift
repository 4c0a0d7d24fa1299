/// What the rows of a file are.
public enum ImportKind: String, Sendable, Hashable, CaseIterable {
    /// A person each; the columns of a position are the only one the person has.
    case persons
    /// A company each.
    case companies
    /// A position each; those of one person together replace the person's list.
    case positions
    /// A person's category or categories each; those of one person together replace the person's list.
    case categories

    /// The columns by their English names, with the Dutch ones and other spellings.
    var columns: [(name: String, aliases: [String])] {
        let source = ("source", ["bron"])
        let list = ("categories", ["categorieën", "categorieen", "category", "categorie"])
        let position = [
            ("function", ["functie"]), ("department", ["afdeling"]), ("company", ["bedrijf", "bedrijfsnummer"]),
        ]
        let person = ("id", ["nummer", "external id", "extern id", "person", "persoon", "persoonsnummer"])
        switch self {
        case .persons:
            return [
                source, ("id", ["nummer", "external id", "extern id"]), ("given_name", ["voornaam"]),
                ("initials", ["voorletters"]), ("prefixes", ["tussenvoegsels", "tussenvoegsel"]),
                ("family_name", ["achternaam"]), ("gender", ["geslacht"]), list,
                ("anonymised", ["geanonimiseerd", "anonymized"]),
            ] + position
        case .companies:
            return [
                source, ("id", ["nummer", "external id", "extern id", "bedrijfsnummer"]),
                ("name", ["naam", "bedrijfsnaam"]), list,
            ]
        case .positions: return [source, person] + position
        case .categories: return [source, person, list]
        }
    }

    /// Whether there are columns of addresses, a kind each.
    var hasAddresses: Bool { self == .persons }
}
