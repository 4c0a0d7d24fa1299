import Crypto

/// The name by which Mailchimp knows an address within a list: the MD5 of the address in lower case.
///
/// It changes with the address; whoever needs a name that stays keeps ``Member/contactID``.
public func subscriberHash(_ address: String) -> String {
    let digits = Array("0123456789abcdef")
    var text = ""
    text.reserveCapacity(32)
    for byte in Insecure.MD5.hash(data: Array(address.lowercased().utf8)) {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return text
}
