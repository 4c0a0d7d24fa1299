/// A list with its contacts.
///
/// A reference confined to the actor that holds the state: a value of this size must never be copied by accident.
final class Audience {
    let id: String
    let webID: Int
    let account: String
    var settings: ListSettings
    let created: Int
    var mergeFields: [MergeField]
    var nextMergeID = MergeField.ofNewList.count + 1
    var webhooks: [Webhook] = []
    /// The figures that the API tells.
    var statistics: ListStatistics
    private(set) var lastSubscribed: Int?
    private(set) var lastUnsubscribed: Int?
    var segments = SegmentBook()
    var choices = Choices()
    /// Addresses that were deleted for good, with the no that the contact had given before.
    var forgotten: [HexID: Forgotten] = [:]
    private(set) var members: [Member?] = []
    private(set) var count: [MemberStatus: Int] = [:]
    private(set) var changes = ChangeOrder()
    /// One byte a member, so that paging over many does not touch them all.
    private(set) var statuses: [MemberStatus?] = []
    private var slotByHash: [HexID: Int] = [:]
    private var slotByContact: [HexID: Int] = [:]

    init(id: String, webID: Int, account: String, name: String, isDoubleOptIn: Bool, created: Int) {
        self.id = id
        self.webID = webID
        self.account = account
        settings = ListSettings(name: name, isDoubleOptIn: isDoubleOptIn)
        statistics = ListStatistics(at: created)
        self.created = created
        mergeFields = MergeField.ofNewList
    }

    /// An address that was deleted for good.
    struct Forgotten: Sendable {
        var at: Int
        var ownNo: OwnNo?
    }

    func slot(hash: HexID) -> Int? { slotByHash[hash] }

    /// Finds a contact by the hash of his address, by his plain address or by his contact id.
    func slot(reference: String) -> Int? {
        if reference.contains("@") { return slotByHash[HexID(address: reference)] }
        guard let id = HexID(hex: reference) else { return nil }
        return slotByHash[id] ?? slotByContact[id]
    }

    func member(at slot: Int) -> Member? { slot < members.count ? members[slot] : nil }

    @discardableResult
    func insert(_ member: Member) -> Int {
        let slot = members.count
        members.append(member)
        statuses.append(member.status)
        slotByHash[member.hash] = slot
        slotByContact[member.contactID] = slot
        count[member.status, default: 0] += 1
        note(member)
        changes.touch(slot, at: member.lastChanged)
        forgotten[member.hash] = nil
        return slot
    }

    /// Puts back a member that was read from the slot, keeping the indices right.
    func replace(_ slot: Int, with member: Member) {
        guard let former = members[slot] else { return }
        members[slot] = member
        if former.hash != member.hash {
            slotByHash[former.hash] = nil
            slotByHash[member.hash] = slot
        }
        if former.status != member.status {
            count[former.status, default: 0] -= 1
            count[member.status, default: 0] += 1
            statuses[slot] = member.status
            note(member)
        }
        if former.lastChanged != member.lastChanged { changes.touch(slot, at: member.lastChanged) }
    }

    /// Keeps when somebody last came or went.
    private func note(_ member: Member) {
        if member.status == .subscribed { lastSubscribed = member.lastChanged }
        if member.status == .unsubscribed { lastUnsubscribed = member.lastChanged }
    }

    func remove(_ slot: Int) {
        guard let member = members[slot] else { return }
        for tag in member.tags { segments.change(tag.segment) { $0.slots.remove(slot) } }
        members[slot] = nil
        statuses[slot] = nil
        slotByHash[member.hash] = nil
        slotByContact[member.contactID] = nil
        count[member.status, default: 0] -= 1
        changes.remove(slot)
    }
}
