/// A field of a list that personalises what it sends.
struct MergeField: Sendable {
    enum Kind: String, Sendable, CaseIterable {
        case text, number, address, phone, date, url, imageurl, radio, dropdown, birthday, zip
    }

    let id: Int
    var tag: String
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
}
