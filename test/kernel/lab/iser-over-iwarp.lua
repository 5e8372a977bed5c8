-- Wireshark dissects iSER over InfiniBand only. This finds it in RDMAP Sends (RFC 7145) and hands the PDU to iSCSI.
local HEADER_BYTES = 28
local BHS_BYTES = 48
local VERSION_AND_TYPE = 0xf0
local CONTROL_PDU = 0x10

local iser = Proto('iser_iwarp', 'iSER over iWARP')
local fields = {
  flags = ProtoField.uint8('iser_iwarp.flags', 'Type and flags', base.HEX),
  write_stag = ProtoField.uint32('iser_iwarp.write_stag', 'Write STag', base.HEX),
  write_base = ProtoField.uint64('iser_iwarp.write_base', 'Write base offset', base.HEX),
  read_stag = ProtoField.uint32('iser_iwarp.read_stag', 'Read STag', base.HEX),
  read_base = ProtoField.uint64('iser_iwarp.read_base', 'Read base offset', base.HEX),
}
iser.fields = fields

local iscsi = Dissector.get('iscsi')

function iser.dissector(buffer, packet, tree)
  if buffer:len() < HEADER_BYTES + BHS_BYTES then return false end
  if bit32.band(buffer(0, 1):uint(), VERSION_AND_TYPE) ~= CONTROL_PDU then return false end
  local branch = tree:add(iser, buffer(0, HEADER_BYTES))
  branch:add(fields.flags, buffer(0, 1))
  branch:add(fields.write_stag, buffer(4, 4))
  branch:add(fields.write_base, buffer(8, 8))
  branch:add(fields.read_stag, buffer(16, 4))
  branch:add(fields.read_base, buffer(20, 8))
  iscsi:call(buffer(HEADER_BYTES):tvb(), packet, tree)
  return true
end

iser:register_heuristic('iwarp_ddp_rdmap', iser.dissector)
