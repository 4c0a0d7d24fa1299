/// The test persons of the demonstration: always the same thousand, with the names that a Dutch administration holds.
struct DemoPersons {
    struct Person {
        var id: String
        var givenName: String
        var initials: String
        var prefixes: String
        var familyName: String
        var gender: String
        var address: String
        var categories: String
    }

    static let newsletter = "Mailingen / Nieuwsbrief"
    /// How many of them carry the newsletter's category: the first ones.
    static let members = 600
    let persons: [Person]

    init(count: Int = 1000) {
        persons = (0..<count).map(Self.person)
    }

    private static let women = ["Anna", "Sanne", "Zoë", "Eva", "Noor", "Loïs", "Fenna", "Renée", "Maaike", "Chloë"]
    private static let men = ["Jan", "Daan", "Sem", "Luuk", "Thijs", "Joël", "Ruben", "André", "Michiel", "Özgür"]
    private static let prefixes = ["", "", "", "de", "van", "van der", "van den", "'t", "ten", "in 't"]
    private static let families = [
        "Berg", "Vries", "Jansen", "Bakker", "Visser", "Smit", "Meijer", "Mulder", "Bos", "Dijk", "Hoekstra", "Günther",
        "Çelik", "Brouwer", "Coëlho", "Yilmaz", "Postma", "Veen", "Kuipers", "Håkansson",
    ]

    private static func person(_ index: Int) -> Person {
        let isWoman = index.isMultiple(of: 2)
        let names = isWoman ? women : men
        let name = names[index / 2 % names.count]
        return Person(
            id: String(1001 + index),
            // Some are known by their initials alone.
            givenName: index % 9 == 4 ? "" : name,
            initials: "\(name.prefix(1)).",
            prefixes: prefixes[index % prefixes.count],
            familyName: families[index / 3 % families.count],
            gender: isWoman ? "vrouw" : "man",
            address: address(index),
            categories: index < members ? newsletter : index % 5 == 0 ? "Mailingen / Cursusaanbod" : "")
    }

    /// One in 25 has no address; the eleventh and the twelfth share one.
    private static func address(_ index: Int) -> String {
        if index % 25 == 24 { return "" }
        return index == 11 ? address(10) : "persoon\(1001 + index)@post.koppeling.test"
    }

    /// The file that is imported: UTF-8, comma separated, every field quoted.
    func csv() -> String {
        let header =
            "bron,nummer,voornaam,voorletters,tussenvoegsels,achternaam,geslacht,e-mailadres zakelijk,categorieën\n"
        return persons.reduce(into: header) { file, person in
            let fields = [
                "coachview", person.id, person.givenName, person.initials, person.prefixes, person.familyName,
                person.gender, person.address, person.categories,
            ]
            file += fields.map { "\"\($0)\"" }.joined(separator: ",") + "\n"
        }
    }

    /// Who should be in the list once the newsletter's rule is approved, by address: FNAME and LNAME.
    ///
    /// Of two who share an address, the first supplies the names.
    func expected() -> [String: (first: String, last: String)] {
        var list: [String: (first: String, last: String)] = [:]
        for person in persons.prefix(Self.members) where !person.address.isEmpty && list[person.address] == nil {
            let first = person.givenName.isEmpty ? person.initials : person.givenName
            let last = person.prefixes.isEmpty ? person.familyName : "\(person.prefixes) \(person.familyName)"
            list[person.address] = (first, last)
        }
        return list
    }
}
